#!/usr/bin/env python3
"""Write a keepfs vault without keepfs: what docs/FORMAT.md leaves to a writer, used to the full.

usage: encode.py [--passfile F] [--keyfile F] [--recovery-file F] [--chunk-log2 N]
                 [--left-open N] [--seed N] SOURCE VAULT

VAULT must be empty or not exist. It gets a slot for the passphrase, one for the key file, one
for both if both are given, and one for a recovery code, which is written to F. SOURCE is any
directory: regular files with their holes, directories, symbolic links, FIFOs, hard links, modes,
times and `user.` attributes are kept. Devices and sockets are left out, and noted.

With --seed the bytes are the same in every run but for what the file system decides, and the
writer does by chance whatever it may: directories with an id of another place and a pin of one
or two records, pins left from earlier, entries under the place of a pinned directory, side files
without an entry, generations of any size, holes stored as holes, as zero bytes or as chunks, and
slots that nobody here can open. ANYBODY CAN COMPUTE THE KEYS OF SUCH A VAULT. --left-open leaves N
regular files unsealed, in one of the ways that a crash or a copy leaves behind.

What was done is printed as JSON. Exit codes: 0 all is in the vault; 1 something is not; 64 wrong
usage. Sections are those of docs/FORMAT.md. Needs what keepfs_format needs.
"""

import argparse
import errno
import json
import os
import random
import stat
import sys
import typing

import keepfs_format as f
import keepfs_recovery

CHEAPEST = (65536, 3)  # m and t that section 5 still accepts


class Usage(Exception):
    """What was asked for cannot be done."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> "typing.NoReturn":
        raise Usage(message)


# ---- What the format leaves to a writer

class Choices:
    """Random bytes, and with a seed everything else that a writer may decide."""

    def __init__(self, seed: "int | None", chunk: int):
        self.free = seed is not None
        self.r = random.Random(seed)
        self.chunk = chunk
        self.done: "dict[str, int]" = {}

    def bytes(self, count: int) -> bytes:
        return self.r.randbytes(count) if self.free else os.urandom(count)

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def one_in(self, many: int, what: str = "") -> bool:
        chosen = self.free and self.r.randrange(many) == 0
        if chosen and what:
            self.count(what)
        return chosen

    def order(self, things: list) -> list:
        if self.free:
            self.r.shuffle(things)
        return things

    def generation(self) -> int:
        """A file was created, which is generation 1, and then sealed."""
        if not self.free:
            return 2
        any_other = self.r.randrange(2, 2**64)
        return self.r.choice((2, 3, 4, 255, 256, 2**32, 2**63 - 1, 2**63, any_other, 2**64 - 2, 2**64 - 1))

    def holes(self) -> str:
        """How the holes of one file are stored."""
        return self.r.choice(("hole", "hole", "zero bytes", "chunk", "any")) if self.free else "hole"

    def hole(self, how: str) -> str:
        return self.r.choice(("hole", "zero bytes", "chunk")) if how == "any" else how


# ---- Section 6: regular files

def next_data(fd: int, at: int, size: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as e:
        return size if e.errno == errno.ENXIO else at


def chunks(fd: int, size: int, length: int) -> "typing.Iterator[tuple[int, bytes | None]]":
    """The chunks of a file, the last one shorter than the others; None if it is a hole in whole."""
    data = -1
    for number in range(size // length + 1):
        at = number * length
        if data < at:
            data = next_data(fd, at, size)
        if at + length <= min(data, size):
            yield number, None
        else:
            yield number, os.pread(fd, min(length, size - at), at)


class Contents:
    """The slots of one file, written as they come, and what the header says about them."""

    def __init__(self, fd: int, keys: f.FileKeys, choices: Choices):
        self.fd, self.keys, self.choices = fd, keys, choices
        self.geometry = f.Geometry(choices.chunk.bit_length() - 1)
        self.seal, self.holes = bytes(16), 0

    def write(self, source: int, size: int) -> None:
        how = self.choices.holes()
        for number, plain in chunks(source, size, self.geometry.chunk):
            at = f.HEADER_LEN + number * self.geometry.slot
            kind = self.choices.hole(how) if plain is None else "chunk"
            if kind == "chunk":
                self.slot(at, number, bytes(self.geometry.chunk) if plain is None else plain)
                continue
            self.holes += 1
            self.choices.count(f"hole as {kind}")
            if kind == "zero bytes":
                os.pwrite(self.fd, bytes(self.geometry.slot), at)

    def slot(self, at: int, number: int, plain: bytes) -> None:
        slot = f.chunk_slot(self.keys, number, self.choices.bytes(24), plain)
        self.seal = f.xor(self.seal, f.seal_term(self.keys, number, slot[-16:]))
        os.pwrite(self.fd, slot, at)

    def sealed(self, size: int, birth: bytes) -> bytes:
        flags = f.SPARSE if self.holes else 0
        return f.sealed_fields(flags, self.choices.generation(), size, self.seal, birth, self.holes)

    def unsealed(self, size: int, birth: bytes) -> bytes:
        """The fields of a file that a crash left, or that was copied while it grew."""
        r, sparse = self.choices.r, f.SPARSE if self.holes else 0
        how = r.choice(("never sealed", "open", "open, SPARSE", "grown" if size > 0 else "open"))
        self.choices.count(f"unsealed: {how}")
        if how == "never sealed":
            return f.sealed_fields(f.OPEN | sparse, 1, 0, bytes(16), birth, 0)
        if how == "grown":
            before, seal = r.randrange(size), r.randbytes(16)
            return f.sealed_fields(sparse, self.choices.generation(), before, seal, birth, self.holes)
        flags = f.OPEN | (f.SPARSE if how.endswith("SPARSE") else sparse)
        stale = r.choice((0, size, 3 * size + 5, f.MAX_FILE))
        return f.sealed_fields(flags, self.choices.generation(), stale, r.randbytes(16), birth, r.randrange(2**64))


# ---- Sections 7 to 11: the tree

# The last one was left by a directory that was then empty and was renamed; it has names again.
PINS = ("no pin", "no pin", "pin", "pin", "pin of its place", "pin left from earlier")


KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO"}


class Directory(typing.NamedTuple):
    """One directory on both sides, and what its names are made of."""

    source: int
    target: int
    dir_id: bytes
    place: bytes
    path: bytes
    backing: str

    def join(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


def write_file(at: int, name: "str | bytes", data: bytes, mode: int = 0o600) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=at)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def opened(at: int, name: "str | bytes", flags: int = 0) -> int:
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=at)


def names_in(fd: int) -> "list[bytes]":
    return sorted(os.fsencode(name) for name in os.listdir(fd))


def times(st: os.stat_result) -> "tuple[int, int]":
    return st.st_atime_ns, st.st_mtime_ns


class Encoder:
    def __init__(self, keys: f.Keys, choices: Choices, left_open: "set[tuple[int, int]]"):
        self.keys, self.choices, self.left_open = keys, choices, left_open
        self.linked: "dict[tuple[int, int], int]" = {}
        self.places: "list[bytes]" = []
        self.open_paths: "dict[tuple[int, int], list[tuple[str, str]]]" = {}
        self.left_out: "list[bytes]" = []

    def tree(self, source: int, target: int) -> None:
        root = self.keys["root"]
        self.directory(Directory(source, target, root, root, b"", ""))

    def directory(self, d: Directory) -> None:
        for name in self.choices.order(names_in(d.source)):
            self.object(d, name)
        self.orphans(d)
        self.attributes(d.source, d.target, d.dir_id, d.path)
        st = os.fstat(d.source)
        os.fchmod(d.target, stat.S_IMODE(st.st_mode))
        os.utime(d.target, ns=times(st))

    # Section 7
    def entry(self, d: Directory, dir_id: bytes, name: bytes) -> str:
        entry, side = f.cipher_name(self.keys, dir_id, name)
        if side:
            write_file(d.target, entry + "=", side)
        return entry

    def orphans(self, d: Directory) -> None:
        """Side files that stayed when their entry went, or when the empty directory was renamed."""
        while self.choices.one_in(4, "side file without an entry"):
            dir_id = self.choices.r.choice((d.dir_id, d.place, self.former()))
            name = bytes(b or 1 for b in self.choices.bytes(self.choices.r.randrange(128, 256))).replace(b"/", b"_")
            self.entry(d, dir_id, name)

    # Section 8
    def former(self) -> bytes:
        """A place where a directory may have been born: perhaps one where another one stands."""
        if self.places and self.choices.one_in(3):
            return self.choices.r.choice(self.places)
        return self.nowhere()

    def nowhere(self) -> bytes:
        return f.place(self.keys, self.choices.bytes(16), b"former")

    def identity(self, child: Directory) -> Directory:
        """Decides on the id of a directory, and writes its pin."""
        place, target = child.place, child.target
        how = self.choices.r.choice(PINS) if self.choices.free else "no pin"
        self.choices.count(f"directory: {how}")
        if how == "no pin":
            self.places.append(place)
            return child
        born = place if how == "pin of its place" else self.former()
        elsewhere = [at for at in (self.former(), self.nowhere()) if at != place]
        here = [] if how == "pin left from earlier" else [place]
        count = self.choices.r.choice((1, 2))
        records = [f.pin_record(self.keys, at, born) for at in (here + elsewhere)[:count]]
        write_file(target, "keepfs.dir", b"".join(self.choices.order(records)))
        return child._replace(dir_id=born) if here else child

    def early(self, d: Directory) -> bool:
        """Whether a name was created before the pin of its directory came."""
        if d.place == d.dir_id:
            return False
        return self.choices.one_in(4, "entry under the place of a pinned directory")

    def object(self, d: Directory, name: bytes) -> None:
        st = os.stat(name, dir_fd=d.source, follow_symlinks=False)
        kind, inode = stat.S_IFMT(st.st_mode), (st.st_dev, st.st_ino)
        if kind not in KINDS:
            return self.leave_out(d.join(name), "is a device or socket")
        dir_id = d.place if self.early(d) else d.dir_id
        entry = self.entry(d, dir_id, name)
        if inode in self.left_open:
            self.open_paths.setdefault(inode, []).append((os.fsdecode(d.join(name)), d.backing + entry))
        if inode in self.linked:
            os.link(f"/proc/self/fd/{self.linked[inode]}", entry, dst_dir_fd=d.target, follow_symlinks=True)
            return None
        self.choices.count(KINDS[kind])
        if kind == stat.S_IFDIR:
            return self.subdirectory(d, dir_id, name, entry)
        if kind == stat.S_IFREG:
            self.regular(d, name, entry, st)
        elif kind == stat.S_IFLNK:
            target = os.readlink(name, dir_fd=d.source)
            os.symlink(f.link_text(self.keys, self.choices.bytes(24), target), entry, dir_fd=d.target)
        else:
            os.mkfifo(entry, 0o600, dir_fd=d.target)
            os.chmod(entry, stat.S_IMODE(st.st_mode), dir_fd=d.target)
        os.utime(entry, ns=times(st), dir_fd=d.target, follow_symlinks=False)
        if st.st_nlink > 1:
            self.linked[inode] = opened(d.target, entry, os.O_PATH)
        return None

    def subdirectory(self, d: Directory, parent_id: bytes, name: bytes, entry: str) -> None:
        os.mkdir(entry, 0o700, dir_fd=d.target)
        source, target = opened(d.source, name), opened(d.target, entry)
        place = f.place(self.keys, parent_id, name)
        try:
            self.directory(self.identity(Directory(source, target, place, place, d.join(name), f"{d.backing}{entry}/")))
        finally:
            os.close(source)
            os.close(target)

    def regular(self, d: Directory, name: bytes, entry: str, st: os.stat_result) -> None:
        keys = self.keys.file(self.choices.bytes(16))
        source = opened(d.source, name)
        fd = os.open(entry, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=d.target)
        try:
            contents = Contents(fd, keys, self.choices)
            contents.write(source, st.st_size)
            left_open = (st.st_dev, st.st_ino) in self.left_open
            fields = (contents.unsealed if left_open else contents.sealed)(st.st_size, d.dir_id)
            os.pwrite(fd, f.header(keys, self.choices.bytes(24), fields), 0)
            self.attributes(source, fd, keys.file_id, d.join(name))
            os.fchmod(fd, stat.S_IMODE(st.st_mode))
        finally:
            os.close(fd)
            os.close(source)

    # Section 10
    def attributes(self, source: int, target: int, owner: bytes, path: bytes) -> None:
        for attribute in self.choices.order(sorted(os.listxattr(source))):
            if not attribute.startswith("user."):
                continue
            name, value = os.fsencode(attribute)[5:], os.getxattr(source, attribute)
            try:
                box = f.xattr_value(self.keys, owner, name, self.choices.bytes(24), value)
                os.setxattr(target, f.xattr_name(self.keys, owner, name), box)
                self.choices.count("attribute")
            except OSError as e:
                self.leave_out(path, f"has an attribute {attribute!a} that cannot be stored: {e.strerror}")

    def leave_out(self, path: bytes, why: str) -> None:
        self.left_out.append(path)
        print(f"encode.py: left out: {os.fsdecode(path)!a}: {why}", file=sys.stderr)


def regular_files(top: bytes) -> "list[tuple[int, int]]":
    """The inodes of all regular files, in the order of the first path of each."""
    found: "dict[tuple[int, int], None]" = {}
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            st = os.lstat(os.path.join(directory, name))
            if stat.S_ISREG(st.st_mode):
                found[st.st_dev, st.st_ino] = None
    return list(found)


# ---- Section 5: slots

class Secrets:
    """The secrets that open the vault, as they are in their files."""

    def __init__(self, passfile: "str | None", keyfile: "str | None", recovery: "bytes | None"):
        self.passphrase = first_line(read(passfile)) if passfile else b""
        self.key_file = read(keyfile) if keyfile else b""
        self.recovery = recovery
        if passfile and not self.passphrase or keyfile and not self.key_file:
            raise Usage("the passphrase or the key file is empty")

    def slots(self) -> "typing.Iterator[dict]":
        if self.passphrase:
            yield {"kind": f.PASSPHRASE, "passphrase": self.passphrase}
        if self.key_file:
            yield {"kind": f.KEY_FILE, "key_file": self.key_file}
        if self.passphrase and self.key_file:
            yield {"kind": f.BOTH, "passphrase": self.passphrase, "key_file": self.key_file}
        if self.recovery:
            yield {"kind": f.RECOVERY, "recovery": self.recovery}


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def first_line(data: bytes) -> bytes:
    line = data.split(b"\n")[0]
    return line[:-1] if line.endswith(b"\r") else line


LABELS = (b"", b"laptop", "Schl\u00fcssel \U0001f511".encode(), b"x" * 64, b"\x1b[31mred\n", "\u00e4".encode() * 32)


def strangers(choices: Choices) -> "list[dict]":
    """Slots for which nobody here has the secret."""
    if not choices.free:
        return []
    kinds = {"key_file": f.KEY_FILE, "recovery": f.RECOVERY}
    chosen = choices.r.choices(list(kinds), k=choices.r.randrange(4))
    return [{"kind": kinds[what], what: choices.bytes(32)} for what in chosen]


def write_slots(directory: int, secrets: Secrets, choices: Choices, vmk: bytes, vault: bytes) -> None:
    for fields in choices.order([*secrets.slots(), *strangers(choices)]):
        if fields["kind"] in (f.PASSPHRASE, f.BOTH):
            fields["cost"] = (*CHEAPEST, choices.r.choice((1, 2, 4, 16)) if choices.free else 4)
        label = choices.r.choice(LABELS) if choices.free else b""
        parts = f.SlotParts(
            fields.pop("kind"), choices.bytes(16), choices.bytes(32), choices.bytes(24), label=label, **fields
        )
        write_file(directory, parts.slot_id.hex() + ".slot", f.slot(parts, vmk, vault))
        choices.count(f"slot of kind {parts.kind}")


# ---- The command

def encode(arguments: argparse.Namespace) -> int:
    choices = Choices(arguments.seed, 1 << arguments.chunk_log2)
    recovery = choices.bytes(32) if arguments.recovery_file else None
    secrets = Secrets(arguments.passfile, arguments.keyfile, recovery)
    os.makedirs(arguments.VAULT, 0o700, exist_ok=True)
    if os.listdir(arguments.VAULT):
        raise Usage("VAULT is not empty")
    inodes = regular_files(os.fsencode(arguments.SOURCE))
    if arguments.left_open > len(inodes):
        raise Usage("there are not so many regular files to leave open")
    keys = f.Keys(choices.bytes(16), choices.bytes(32))
    vault = f.vault_file(keys, arguments.chunk_log2)
    source, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (arguments.SOURCE, arguments.VAULT))
    write_file(target, "keepfs.vault", vault, 0o644)
    os.mkdir("keepfs.slots", 0o700, dir_fd=target)
    slots = opened(target, "keepfs.slots")
    write_slots(slots, secrets, choices, keys.vmk, vault)
    os.close(slots)
    if recovery:
        with open(arguments.recovery_file, "w", encoding="ascii") as file:
            file.write(keepfs_recovery.code_text(recovery) + "\n")
    encoder = Encoder(keys, choices, set(choices.r.sample(inodes, arguments.left_open)))
    encoder.tree(source, target)
    print(json.dumps({"done": choices.done, "left_open": list(encoder.open_paths.values())}))
    return 1 if encoder.left_out else 0


def main() -> int:
    usage = (__doc__ or "").split("\n\n")[1][7:]
    parser = Parser(usage=usage, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--passfile", "--keyfile", "--recovery-file"):
        parser.add_argument(flag)
    parser.add_argument("--chunk-log2", type=int, default=12, choices=range(12, 21))
    parser.add_argument("--left-open", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("SOURCE")
    parser.add_argument("VAULT")
    try:
        arguments = parser.parse_args()
        if not (arguments.passfile or arguments.keyfile or arguments.recovery_file):
            raise Usage("give a passphrase, a key file, both, or a file for a recovery code")
        return encode(arguments)
    except (Usage, OSError) as e:
        print(f"encode.py: {e}", file=sys.stderr)
        return 64 if isinstance(e, Usage) else 1


if __name__ == "__main__":
    sys.exit(main())
