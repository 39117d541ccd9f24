"""What the owner writes into each of the attacked file systems, and the older state that
the keeper has of it. For scripts/attack_peers.py."""

import os
import shutil

LEN = 100_000
OLD, NEW = 40_960, 49_152


def lines(name, length):
    text = b"".join(b"%s, line %07d\n" % (name.encode(), i) for i in range(length // 16 + 1))
    return text[:length]


FILES = {
    "letter": lines("letter", LEN),
    "other": lines("other", LEN),
    "box/inside": lines("box/inside", 500),
    "chest/inside": lines("chest/inside", 500),
    "pinned/kept": lines("pinned/kept", 500),
}
OUTSIDE = lines("outside", 500)
LINKS = {"link": "some/where", "pointer": "else/where"}
BEFORE = FILES["letter"]
AFTER = BEFORE[:OLD] + lines("newer", NEW - OLD) + BEFORE[NEW:]


def fill(system):
    """The owner's work, an object a session, so that each is found on the backing."""
    def write(path, data):
        system.session(path, lambda m: (m / path).write_bytes(data))

    system.make()
    system.session("", lambda m: None)
    for name in ("box", "chest", "old"):
        system.session(name, lambda m, name=name: (m / name).mkdir())
    for name in ("letter", "other", "box/inside", "chest/inside"):
        write(name, FILES[name])
    write("old/kept", FILES["pinned/kept"])
    system.session("pinned", lambda m: (m / "old").rename(m / "pinned"))
    for name, target in LINKS.items():
        system.session(name, lambda m, name=name, target=target: (m / name).symlink_to(target))
    if system.attributes:
        system.session("", lambda m: os.setxattr(m / "letter", "user.note", b"private"))
    keep(system, "then")

    def overwrite(m):
        with open(m / "letter", "r+b") as file:
            file.seek(OLD)
            file.write(AFTER[OLD:NEW])

    system.session("", overwrite)
    keep(system, "now")


def keep(system, name):
    """Copies the backing; and what the owner's machine remembers, with it."""
    for what in ("backing", "state"):
        shutil.copytree(system.home / what, system.home / name / what, symlinks=True)


def put_back(system, what, name):
    shutil.rmtree(system.home / what)
    shutil.copytree(system.home / name / what, system.home / what, symlinks=True)


def then(system, path):
    """The same object in the older state."""
    return system.home / "then" / "backing" / path.relative_to(system.backing)
