#!/usr/bin/env python3
"""Does the same attacks to keepfs and four other encrypted file systems, and prints what
each of them answers as a Markdown table. Run by scripts/attack-peers.

usage: attack_peers.py KEEPFS WORK

Every attack begins with the same state: files were written, the keeper took a copy, the
owner changed part of one file. The attack changes the backing; then the owner mounts
on the machine that wrote it and reads everything. No outcome is written down here: the
words come from comparing what was read with what was written.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attack_systems import (
    Cryfs, Encfs, EncfsParanoia, Gocryptfs, Keepfs, Securefs, System,
)

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


# ---- looking ----


def observe(point):
    """Everything a mount shows, errors included; in a process that may hang."""
    seen = {"files": {}, "links": {}, "note": None, "names": []}
    for path in FILES:
        pieces, error, at = [], None, 0
        try:
            with open(point / path, "rb", buffering=0) as file:
                length = os.fstat(file.fileno()).st_size
                while at < max(length, 1):
                    try:
                        piece = os.pread(file.fileno(), 4096, at)
                    except OSError as failed:
                        error = failed.errno
                        at += 4096
                        continue
                    if not piece:
                        break
                    pieces.append((at, piece.decode("latin-1")))
                    at += 4096
        except OSError as failed:
            error = failed.errno
        seen["files"][path] = {"pieces": pieces, "error": error}
    for path in LINKS:
        try:
            seen["links"][path] = os.readlink(point / path)
        except OSError as failed:
            seen["links"][path] = failed.errno
    try:
        seen["note"] = os.getxattr(point / "letter", "user.note").decode("latin-1")
    except OSError as failed:
        seen["note"] = failed.errno
    for base, dirs, files in os.walk(point):
        for name in dirs + files:
            seen["names"].append(os.path.relpath(os.path.join(base, name), point))
    return seen


def look(system, strict=False):
    """What the owner meets: None if it does not mount."""
    outcome = system.mount(strict)
    if outcome == "late":
        raise RuntimeError(f"{system.title} neither mounted nor ended in time")
    if outcome == "refused":
        return None
    try:
        # A reader of its own: it is killed if a read never returns.
        reader = subprocess.run(
            [sys.executable, __file__, "--observe", system.point],
            capture_output=True, timeout=60, check=False,
        )
        return json.loads(reader.stdout) if reader.returncode == 0 else {"died": True}
    except subprocess.TimeoutExpired:
        return {"died": True}
    finally:
        system.unmount()


ABSENT = (errno.ENOENT, errno.ENOTDIR)
ALL_NAMES = {"box", "chest", "pinned", *FILES, *LINKS}


def file_verdict(path, got, expected):
    """(what is wrong, how grave): read right is None."""
    data = b"".join(piece.encode("latin-1") for _, piece in got["pieces"])
    for at, piece in got["pieces"]:
        piece = piece.encode("latin-1")
        if piece != expected[at:at + len(piece)]:
            if data == BEFORE and path == "letter":
                return "the old text is read"
            right = expected[at:at + len(piece)]
            if path == "letter" and len(right) == len(piece) and all(
                got in both for got, both in zip(piece, zip(right, BEFORE[at:]))
            ):
                return "old text is read among the new"
            for name, text in dict(FILES, letter=AFTER).items():
                if name != path and data == text:
                    return "the other file's text is read"
            if data == OUTSIDE:
                return "the file outside is read"
            if data[:len(expected)] == expected:
                return "a longer file is read"
            if all(new in (0, old) for new, old in zip(piece, right)):
                return "zeros are read"
            return "other bytes are read"
    if got["error"] in ABSENT:
        return "absent"
    if got["error"]:
        return "error"
    if len(data) < len(expected):
        return "an empty file is read" if not data else "a shorter file is read"
    return None


def compare(seen, expected, attributes):
    """Sorted into: wrong data, errors, absent, shown too much."""
    wrong, errors, absent = [], [], []
    for path, text in expected.items():
        verdict = file_verdict(path, seen["files"][path], text)
        if verdict == "error":
            errors.append(path)
        elif verdict == "absent":
            absent.append(path)
        elif verdict:
            wrong.append(verdict)
    for path, target in LINKS.items():
        got = seen["links"][path]
        if got in ABSENT:
            absent.append(path)
        elif isinstance(got, int):
            errors.append(path)
        elif got != target:
            other = got in LINKS.values()
            wrong.append("the other link's target is read" if other else "another target is read")
    note = seen["note"]
    if note == errno.ENODATA and attributes:
        absent.append("note")
    elif note == errno.EIO:
        errors.append("note")
    elif isinstance(note, str) and note != "private":
        wrong.append("another value is read")
    extra = sorted(set(seen["names"]) - ALL_NAMES)
    return sorted(set(wrong)), errors, absent, extra


def verdict(system):
    """The cell of the table for what now lies on the backing."""
    expected = dict(FILES, letter=AFTER)
    seen = look(system)
    if seen is None:
        return "does not mount"
    if seen.get("died"):
        return "the program hung or ended"
    wrong, errors, absent, extra = compare(seen, expected, system.attributes)
    shown = [f"shown as `{name}`" if name.isprintable() and len(name) < 30 else
             "shown under a garbled name" for name in extra]
    parts = []
    if wrong:
        parts.append("**not noticed**: " + ", ".join(wrong))
    if errors:
        parts.append("error when it is read")
    if absent and not wrong and not errors:
        parts.append("not shown")
    if shown:
        parts.append("**" + shown[0] + "**")
    if not parts:
        parts.append("reads right")
    checker = system.check_finds()
    name = {"Keepfs": "`check`", "Gocryptfs": "`-fsck`"}.get(type(system).__name__)
    if checker is not None:
        parts.append(f"{name} finds it" if checker else f"{name} finds nothing")
    if wrong and checker and isinstance(system, Keepfs):
        strict = look(system, strict=True)
        if strict is None or not compare(strict, expected, True)[0]:
            parts.append("refused with `--strict`")
    return "; ".join(parts)


# ---- the attacks: each returns why it does not apply, or nothing ----

NOT_FILES = "n/a: contents and names lie in blocks"


def edit(path, change):
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)


def block_of_contents(system, name="letter", index=0):
    """A block of cryfs with contents of a file: those that came with it."""
    return system.places[name + " all"][index]


def in_chunk(system, path, index, data):
    with open(path, "r+b") as file:
        file.seek(system.chunk(index))
        file.write(data)


def chunk(system, path, index):
    with open(path, "rb") as file:
        file.seek(system.chunk(index))
        return file.read(system.slot)


def bit(system):
    def flip(raw):
        raw[len(raw) // 2] ^= 1
    edit(system.at("letter") if system.slot else block_of_contents(system), flip)


def exchange_chunks(system):
    if not system.slot:
        return exchange(block_of_contents(system), block_of_contents(system, index=1))
    path = system.at("letter")
    one, two = chunk(system, path, 1), chunk(system, path, 2)
    in_chunk(system, path, 1, two)
    in_chunk(system, path, 2, one)


def foreign_chunk(system):
    if not system.slot:
        shutil.copy(block_of_contents(system, "other"), block_of_contents(system))
        return
    in_chunk(system, system.at("letter"), 1, chunk(system, system.at("other"), 1))


def zero_chunk(system):
    if not system.slot:
        edit(block_of_contents(system), lambda raw: raw.__setitem__(slice(None), bytes(len(raw))))
        return
    in_chunk(system, system.at("letter"), 1, bytes(system.slot))


def remove_chunk(system):
    if not system.slot:
        block_of_contents(system).unlink()
        return

    def drop(raw):
        del raw[system.chunk(1):system.chunk(2)]
    edit(system.at("letter"), drop)


def cut(system, length):
    def drop(raw):
        del raw[length:]
    edit(system.at("letter") if system.slot else block_of_contents(system), drop)


def cut_at_chunk(system):
    cut(system, system.chunk(3)) if system.slot else cut(system, 8192)


def cut_inside(system):
    cut(system, system.chunk(3) + 700) if system.slot else cut(system, 5000)


def empty(system):
    cut(system, 0)


def extend(system):
    if not system.slot:
        edit(block_of_contents(system), lambda raw: raw.extend(raw[:4096]))
        return
    edit(system.at("letter"), lambda raw: raw.extend(raw[system.header:system.chunk(4)]))


def old_chunk(system):
    if not system.slot:
        # The one block of it that the owner's last change replaced.
        for path in system.places["letter all"]:
            if path.read_bytes() != then(system, path).read_bytes():
                shutil.copy(then(system, path), path)
                return None
        return "n/a: no block was replaced in place"
    path = system.at("letter")
    for index in range(LEN // 1000):
        old, new = chunk(system, then(system, path), index), chunk(system, path, index)
        if old != new:
            in_chunk(system, path, index, old)
            return None
    raise RuntimeError("the owner changed nothing")


def old_file(system):
    if not system.slot:
        for path in system.places["letter all"]:
            shutil.copy(then(system, path), path)
        return
    shutil.copy(then(system, system.at("letter")), system.at("letter"))


def exchange(one, two):
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def on_files(attack):
    """An attack on entries: not for systems without them."""
    def attempt(system):
        return attack(system) if system.slot else NOT_FILES
    return attempt


@on_files
def exchange_files(system):
    exchange(system.at("letter"), system.at("other"))


@on_files
def move_file(system):
    path = system.at("box/inside")
    system.at("chest/inside").unlink()
    path.rename(system.at("chest") / path.name)


@on_files
def exchange_dirs(system):
    exchange(system.at("box"), system.at("chest"))


@on_files
def other_helper(system):
    if not system.helper:
        return "n/a: directories have none"

    def flip(raw):
        raw[-1] ^= 1
    edit(system.at("pinned") / system.helper, flip)


def other_letter(text, at):
    return text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1:]


@on_files
def rename_file(system):
    path = system.at("letter")
    path.rename(path.with_name(other_letter(path.name, 8)))


@on_files
def change_link(system):
    path = system.at("link")
    target = os.readlink(path)
    path.unlink()
    path.symlink_to(other_letter(target, len(target) // 2))


@on_files
def exchange_links(system):
    exchange(system.at("link"), system.at("pointer"))


def attribute(system):
    names = [n for n in os.listxattr(system.at("letter")) if n.startswith("user.")]
    assert len(names) == 1, names
    return names[0]


@on_files
def change_attribute(system):
    if not system.attributes:
        return "n/a: it offers no attributes"
    name = attribute(system)
    value = bytearray(os.getxattr(system.at("letter"), name))
    value[-1] ^= 1
    os.setxattr(system.at("letter"), name, bytes(value))


@on_files
def inject(system):
    shutil.copy(system.at("letter"), system.backing / "notes.txt")


@on_files
def link_for_file(system):
    outside = system.home / "outside"
    outside.write_bytes(OUTSIDE)
    system.at("letter").unlink()
    system.at("letter").symlink_to(outside)


def delete_file(system):
    if not system.slot:
        return NOT_FILES
    system.at("letter").unlink()


def old_vault(system):
    put_back(system, "backing", "then")


def old_vault_elsewhere(system):
    put_back(system, "backing", "then")
    shutil.rmtree(system.state)
    system.state.mkdir()


ATTACKS = [
    ("a bit of the contents flipped", bit),
    ("two chunks of a file exchanged", exchange_chunks),
    ("a chunk of another file at the same place", foreign_chunk),
    ("a chunk zeroed", zero_chunk),
    ("a chunk removed", remove_chunk),
    ("cut at a chunk's boundary", cut_at_chunk),
    ("cut inside a chunk", cut_inside),
    ("emptied", empty),
    ("extended by its own chunks", extend),
    ("one chunk put back to an older state", old_chunk),
    ("a whole file put back to an older state", old_file),
    ("the contents of two files exchanged", exchange_files),
    ("a file removed", delete_file),
    ("a file moved over one of its name in another directory", move_file),
    ("two directories exchanged", exchange_dirs),
    ("a bit of a directory's helper file", other_helper),
    ("a letter of a name changed", rename_file),
    ("a file added", inject),
    ("a symbolic link out of the vault for a file", link_for_file),
    ("a letter of a link's target changed", change_link),
    ("the targets of two links exchanged", exchange_links),
    ("a bit of an attribute's value", change_attribute),
    ("everything put back to an older state", old_vault),
    ("the same, seen by a machine that is new to it", old_vault_elsewhere),
]


# ---- the cost of the passphrase ----


def cheaper(system):
    system.cheaper()
    outcome = system.mount()
    system.unmount()
    return "does not mount" if outcome == "refused" else "**mounts**"


def dearer(system):
    system.dearer()

    log = system.home / "log"
    said = log.stat().st_size
    began = time.monotonic()
    outcome = system.mount(patience=20, before=["prlimit", f"--as={6 << 30}"])
    took = time.monotonic() - began
    if outcome == "late":
        system.server = None
        return "**still computing** after 20 s"
    system.unmount()
    told = log.read_bytes()[said:].decode(errors="replace").lower()
    memory = any(word in told for word in ("out of memory", "bad_alloc", "cannot allocate"))
    if memory:
        return "**takes memory** until there is none (6 GiB allowed)"
    return "refused at once" if took < 1 else f"does not mount, after {took:.0f} s"


COSTS = [
    ("the passphrase's cost lowered", cheaper),
    ("the passphrase's cost raised beyond measure", dearer),
]


def run(system):
    """The cells of one column."""
    fill(system)
    # A vault that was not attacked reads right: else every cell would lie.
    cells = []
    put_back(system, "state", "now")
    fine = verdict(system)
    if not fine.startswith("reads right") or fine.endswith("finds it"):
        raise RuntimeError(f"{system.title} before any attack: {fine}")
    for name, attack in ATTACKS:
        put_back(system, "backing", "now")
        put_back(system, "state", "now")
        cell = attack(system) or verdict(system)
        print(f"  {system.title}: {name}: {cell}", file=sys.stderr, flush=True)
        cells.append(cell)
    for name, attack in COSTS:
        put_back(system, "backing", "now")
        put_back(system, "state", "now")
        cell = attack(system)
        print(f"  {system.title}: {name}: {cell}", file=sys.stderr, flush=True)
        cells.append(cell)
    return cells


def column(kind, work):
    system = kind(work)
    try:
        return f"{system.title} {system.version()}", run(system)
    finally:
        system.unmount()


def debian():
    text = Path("/etc/debian_version").read_text(encoding="ascii").strip()
    return f"Debian {text}"


def main():
    if sys.argv[1] == "--observe":
        json.dump(observe(Path(sys.argv[2])), sys.stdout)
        return
    Keepfs.program = os.path.abspath(sys.argv[1])
    work = Path(sys.argv[2]).resolve()
    chosen = sys.argv[3:]
    kinds: list[type[System]] = [Keepfs, Gocryptfs, Securefs, Encfs, EncfsParanoia, Cryfs]
    kinds = [kind for kind in kinds if not chosen or kind.__name__ in chosen]
    # Two at a time, the slowest first: they mostly wait for their key derivation.
    with ThreadPoolExecutor(2) as pool:
        begun = {kind: pool.submit(column, kind, work) for kind in reversed(kinds)}
        columns = [begun[kind].result() for kind in kinds]
    print(f"On {debian()}, {os.uname().sysname} {os.uname().release.split('-')[0]}.\n")
    print("| attack | " + " | ".join(title for title, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    names = [name for name, _ in ATTACKS + COSTS]
    for number, name in enumerate(names):
        print(f"| {name} | " + " | ".join(cells[number] for _, cells in columns) + " |")


if __name__ == "__main__":
    main()
