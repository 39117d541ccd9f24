"""The attacks of scripts/attack_peers.py, by the names they have in the table. Each changes
the backing and returns nothing, or returns why it does not apply."""

import os
import shutil
import time

from attack_owner import LEN, OUTSIDE, put_back, then

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
