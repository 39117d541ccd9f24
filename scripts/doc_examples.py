"""The worked examples of docs/FORMAT.md, from keys and nonces that count up.

Real nonces are random. These count so that a reader sees in a dump which byte
is which.
"""

import struct

import keepfs_format as f
import keepfs_recovery as r


def counting(first: int, length: int) -> bytes:
    return bytes((first + i) % 256 for i in range(length))


class Block:
    """The lines of one example; values in a column, 32 bytes a line."""

    def __init__(self):
        self.lines = []

    def put(self, label: str, value, note: str = "") -> None:
        if isinstance(value, bytes):
            text = value.hex()
            parts = [text[at : at + 64] for at in range(0, len(text), 64)] or ["(no bytes)"]
        else:
            parts = [value[at : at + 64] for at in range(0, len(value), 64)]
        if note:
            parts[-1] += f"  {note}"
        for i, part in enumerate(parts):
            self.lines.append(f"{label if i == 0 else '':<22}{part}")

    def groups(self, label: str, digits: "list[int]") -> None:
        """The text of a code or share, in two lines."""
        groups = r.groups_of(digits)
        half = len(groups) // 2
        self.put(label, "-".join(groups[:half]) + "-")
        self.put("", "-".join(groups[half:]))

    def table(self, data: bytes, *fields) -> None:
        """A dump along its fields: (length, name)."""
        at = 0
        for length, name in fields:
            self.put(f"{at:>4}  {name}", data[at : at + length])
            at += length
        if at != len(data):
            raise AssertionError(f"the fields cover {at} of {len(data)} bytes")

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


KEYS = f.Keys(counting(0x10, 16), counting(0x00, 32))
VAULT = f.vault_file(KEYS)
FILE = KEYS.file(counting(0x50, 16))
GEOMETRY = f.Geometry(12)
ROOT = KEYS["root"]
NAME = b"hello.txt"
LONG_NAME = b"a long name " * 12


def keys_example() -> str:
    block = Block()
    block.put("VMK", KEYS.vmk)
    block.put("vault_id", KEYS.vault_id)
    for label, key in KEYS.tree.items():
        block.put(f"K({label})", key)
    block.put("file_id", FILE.file_id)
    block.put("FK", FILE.fk)
    block.put("SK", FILE.sk)
    return block.text()


def vault_example() -> str:
    block = Block()
    block.table(VAULT, (8, "magic"), (2, "format"), (1, "chunk_log2"), (5, "zero"), (16, "vault_id"),
                (32, "fingerprint"))
    return block.text()


def slot_example() -> str:
    block = Block()
    parts = f.SlotParts(
        f.PASSPHRASE, counting(0x20, 16), counting(0x30, 32), counting(0xA0, 24),
        passphrase=b"correct horse", label=b"laptop", cost=(65536, 3, 4),
    )
    ikm = parts.ikm()
    head = parts.before_commit(KEYS.vault_id)
    kek, _ = f.slot_keys(ikm, parts.salt, head, VAULT)
    block.put("passphrase", parts.passphrase, '"correct horse"')
    block.put("A = ikm", ikm, "Argon2id, 64 MiB, 3 passes, 4 lanes")
    block.put("SHA-256(S[0..106])", f.sha256(head))
    block.put("SHA-256(V[0..32])", f.sha256(VAULT[:32]))
    block.put("KEK", kek)
    block.lines.append("")
    block.table(
        f.slot(parts, KEYS.vmk, VAULT, ikm),
        (8, "magic"), (2, "version"), (1, "kind"), (1, "zero"), (4, "T"), (16, "slot_id"), (16, "vault_id"),
        (32, "salt"), (4, "m"), (4, "t"), (4, "p"), (4, "zero"), (2, "l"), (2, "e"), (6, "label"),
        (32, "commit"), (24, "nonce"), (32, "wrapped VMK"), (16, "tag"),
    )
    return block.text()


def recovery_example() -> str:
    block = Block()
    code, coefficients = KEYS.vmk, counting(0x61, 32)
    digits = r.code_digits(code)
    block.put("R", code)
    block.put("52 digits", r.letters(digits), "without check digits and sum")
    block.put("h[0..4]", r.letters_hash(digits)[:4])
    block.groups("code", digits)
    block.lines.append("")
    block.lines.append("split with M = 2, N = 3, set = 0xa1b2; f(x) = R + coefficients * x:")
    block.put("coefficients", coefficients)
    for share in r.split(code, [coefficients], 3, 0xA1B2):
        block.put(f"y of share {share.number}", share.y)
        block.groups(f"share {share.number}", share.digits())
    return block.text()


def geometry_example() -> str:
    lines = [f"{'C = 4096:  n':>15}{'st_size':>12}"]
    for n in (0, 1, 4095, 4096, 4097, 8191, 8192, 1000000):
        lines.append(f"{n:>15}{GEOMETRY.cipher_len(n):>12}")
    lines.append("")
    lines.append(f"{'illegal st_size':>15}{'stat':>12}")
    for s in (0, 167, 4264, 4303, 8400):
        if GEOMETRY.plain_len(s) is not None:
            raise AssertionError(f"{s} is legal")
        lines.append(f"{s:>15}{GEOMETRY.longest_legal_prefix(s):>12}")
    lines.append("")
    lines.append(f"largest n: {GEOMETRY.max_plain_len()}, with C = 2^20: {f.Geometry(20).max_plain_len()}")
    return "".join(f"{line}\n" for line in lines)


def hello_slot() -> bytes:
    return f.chunk_slot(FILE, 0, counting(0x80, 24), b"Hello, vault")


def hello_fields() -> bytes:
    seal, holes = f.seal_sum(FILE, GEOMETRY, 0, hello_slot())
    return f.sealed_fields(0, 2, 12, seal, ROOT, holes)


def header_example() -> str:
    block = Block()
    block.lines.append("sealed fields of a sealed file that holds \"Hello, vault\", and was born in the root:")
    block.table(hello_fields(), (1, "flags"), (7, "zero"), (8, "generation"), (8, "size"), (16, "seal"),
                (16, "birth_dir_id"), (8, "holes"))
    block.lines.append("")
    header = f.header(FILE, counting(0xC0, 24), hello_fields())
    block.put("AD", b"\x00" + header[:24])
    block.lines.append("the header:")
    block.table(header, (4, "magic"), (4, "zero"), (16, "file_id"), (24, "nonce"), (64, "sealed fields"),
                (16, "tag"))
    return block.text()


def chunk_example() -> str:
    block = Block()
    block.put("chunk 0", b"Hello, vault", '"Hello, vault"')
    block.put("AD", b"\x01" + struct.pack("<Q", 0))
    block.lines.append("slot 0, the last one:")
    block.table(hello_slot(), (24, "nonce"), (12, "ciphertext"), (16, "tag"))
    empty = f.chunk_slot(FILE, 1, counting(0xE0, 24), b"")
    block.lines.append("")
    block.put("chunk 1", b"")
    block.put("AD", b"\x01" + struct.pack("<Q", 1))
    block.lines.append("slot 1, an empty last slot:")
    block.table(empty, (24, "nonce"), (16, "tag"))
    return block.text()


def file_example() -> str:
    block = Block()
    tag = hello_slot()[-16:]
    block.put("CMAC input, slot 0", struct.pack("<Q", 0) + tag)
    block.put("term(0) = seal", f.seal_term(FILE, 0, tag))
    other = f.chunk_slot(FILE, 1, counting(0xE0, 24), b"")[-16:]
    block.put("term(1), above", f.seal_term(FILE, 1, other))
    block.put("XOR of both", f.xor(f.seal_term(FILE, 0, tag), f.seal_term(FILE, 1, other)))
    block.lines.append("")
    block.lines.append("the whole file, 180 bytes:")
    whole = f.header(FILE, counting(0xC0, 24), hello_fields()) + hello_slot()
    block.put("", whole)
    return block.text()


def name_example() -> str:
    block = Block()
    block.put("dir_id", ROOT, "the root's")
    block.put("name", NAME, '"hello.txt"')
    block.put("pad(name)", f.pad16(NAME))
    block.put("B", f.name_siv(KEYS, ROOT, NAME))
    block.put("entry", f.cipher_name(KEYS, ROOT, NAME)[0])
    block.lines.append("")
    entry, side = f.cipher_name(KEYS, ROOT, LONG_NAME)
    block.put("name", f'"a long name " 12 times, {len(LONG_NAME)} bytes')
    block.put("B, the side file", side)
    block.put("SHA-256(B)", f.sha256(side))
    block.put("entry", entry)
    block.put("side file's name", entry + "=")
    return block.text()


def pin_example() -> str:
    block = Block()
    at_a, at_b = f.place(KEYS, ROOT, b"a"), f.place(KEYS, ROOT, b"b")
    block.put("dir_id(root)", ROOT)
    block.put("place(root, \"a\")", at_a, "dir_id of a directory made as a")
    block.put("place(root, \"b\")", at_b)
    block.put("place(a, \"sub\")", f.place(KEYS, at_a, b"sub"), "the same after mv a b")
    block.put("keepfs.dir", f.pin_record(KEYS, at_b, at_a), "after mv a b")
    return block.text()


def link_example() -> str:
    block = Block()
    nonce, target = counting(0x60, 24), b"../there"
    block.put("plain target", target, '"../there"')
    block.put("nonce", nonce)
    block.put("ciphertext and tag", f.xchacha_seal(KEYS["links"], nonce, target, f.LINK_AD))
    text = f.link_text(KEYS, nonce, target)
    block.put(f"target, T = {len(text)}", text)
    return block.text()


def xattr_example() -> str:
    block = Block()
    name, nonce = b"comment", counting(0x70, 24)
    block.put("id", FILE.file_id, "a file_id")
    block.put("name", name, 'of the attribute "user.comment"')
    block.put("name on the backing", f.xattr_name(KEYS, FILE.file_id, name))
    block.put("AD of the value", FILE.file_id + name)
    block.put("value", b"draft", '"draft"')
    block.put("value on the backing", f.xattr_value(KEYS, FILE.file_id, name, nonce, b"draft"))
    return block.text()


def all_examples() -> "dict[str, str]":
    return {
        "keys": keys_example(),
        "vault": vault_example(),
        "fingerprint": f.fingerprint_text(KEYS["fingerprint"]) + "\n",
        "slot": slot_example(),
        "recovery": recovery_example(),
        "geometry": geometry_example(),
        "header": header_example(),
        "chunk": chunk_example(),
        "file": file_example(),
        "name": name_example(),
        "pin": pin_example(),
        "link": link_example(),
        "xattr": xattr_example(),
    }
