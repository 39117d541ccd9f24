"""Vault format v1 as bytes: an encoder written from docs/FORMAT.md alone.

It shares nothing with the Rust code but the document, so that the two can be
held against each other. Needs Python 3.9, `cryptography` and `argon2-cffi`
(Debian: python3-cryptography, python3-argon2).

Nothing here reads a clock or a random source: whoever calls passes nonces and
ids, and gets the same bytes every time.
"""

import base64
import hashlib
import hmac
import struct
import unicodedata

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

# ---------------------------------------------------------------- section 2

def hchacha20(key: bytes, nonce16: bytes) -> bytes:
    """The subkey of XChaCha20; draft-irtf-cfrg-xchacha-03 section 2.2."""
    state = list(struct.unpack("<4I", b"expand 32-byte k"))
    state += struct.unpack("<8I", key)
    state += struct.unpack("<4I", nonce16)

    def rotate(word: int, bits: int) -> int:
        word &= 0xFFFFFFFF
        return (word << bits) | (word >> (32 - bits))

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            state[z] = rotate(state[z] ^ state[x], bits) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for start in range(4):
            quarter(start, 4 + (start + 1) % 4, 8 + (start + 2) % 4, 12 + (start + 3) % 4)
    return struct.pack("<8I", *(state[:4] + state[12:]))


def xchacha_seal(key: bytes, nonce: bytes, plain: bytes, ad: bytes) -> bytes:
    """Ciphertext followed by the 16-byte tag."""
    inner = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    return inner.encrypt(bytes(4) + nonce[16:], plain, ad)


def siv_seal(key: bytes, ad: bytes, plain: bytes) -> bytes:
    """16-byte synthetic IV followed by the ciphertext; one AD component."""
    return AESSIV(key).encrypt(plain, [ad])


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def hkdf(salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(ikm)


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=info).derive(prk)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def argon2id(passphrase: bytes, salt: bytes, memory_kib: int, passes: int, lanes: int) -> bytes:
    return hash_secret_raw(passphrase, salt, passes, memory_kib, lanes, 32, Type.ID, version=0x13)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


B64_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def loose_b64(data: bytes) -> str:
    """The same bytes with an unused bit of the last character set: no canonical text."""
    text = b64(data)
    if len(data) % 3 == 0:
        raise AssertionError("no bit of the last character is unused")
    return text[:-1] + B64_ALPHABET[B64_ALPHABET.index(text[-1]) + 1]


def is_b64(text: str) -> bool:
    """Whether the text is the canonical form of some bytes."""
    return b64(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) == text


def pad16(data: bytes) -> bytes:
    """ISO 7816-4: 0x80, then zeros up to a multiple of 16; always 1 to 16 bytes."""
    return data + b"\x80" + bytes(15 - len(data) % 16)


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right))

# ---------------------------------------------------------------- section 3

KEY_LENGTHS = {
    "root": 16,
    "content": 32,
    "names": 64,
    "pins": 64,
    "dirs": 32,
    "links": 32,
    "xattr-names": 64,
    "xattr-values": 32,
    "journal": 32,
    "local": 32,
    "fingerprint": 32,
}


class Keys:
    """The key tree of one vault."""

    def __init__(self, vault_id: bytes, vmk: bytes):
        self.vault_id = vault_id
        self.vmk = vmk
        self.tree = {
            label: hkdf(vault_id, vmk, b"keepfs v1 " + label.encode(), length)
            for label, length in KEY_LENGTHS.items()
        }

    def __getitem__(self, label: str) -> bytes:
        return self.tree[label]

    def file(self, file_id: bytes) -> "FileKeys":
        both = hkdf_expand(self["content"], b"keepfs v1 file" + file_id, 64)
        return FileKeys(file_id, both[:32], both[32:])


class FileKeys:
    """FK encrypts header and chunks of one file, SK keys its seal."""

    def __init__(self, file_id: bytes, fk: bytes, sk: bytes):
        self.file_id = file_id
        self.fk = fk
        self.sk = sk


def fingerprint_text(fingerprint: bytes) -> str:
    digits = fingerprint.hex()
    groups = [digits[at : at + 4] for at in range(0, 64, 4)]
    return " ".join(groups)

# ---------------------------------------------------------------- section 4

def vault_file(keys: Keys, chunk_log2: int = 12) -> bytes:
    head = b"KEEPFSv1" + struct.pack("<HB", 1, chunk_log2) + bytes(5) + keys.vault_id
    return head + keys["fingerprint"]

# ---------------------------------------------------------------- section 5

PASSPHRASE, KEY_FILE, BOTH, RECOVERY = 1, 2, 3, 4


def normalised(passphrase: bytes) -> bytes:
    try:
        return unicodedata.normalize("NFC", passphrase.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return passphrase


class SlotParts:
    """What goes into a slot; every field may be bent to make a negative case."""

    def __init__(self, kind: int, slot_id: bytes, salt: bytes, nonce: bytes, **other):
        self.kind = kind
        self.slot_id = slot_id
        self.salt = salt
        self.nonce = nonce
        self.version = other.get("version", 1)
        self.label = other.get("label", b"")
        self.extension = other.get("extension", b"")
        with_argon2 = kind in (PASSPHRASE, BOTH)
        self.cost = other.get("cost", (65536, 3, 4) if with_argon2 else (0, 0, 0))
        self.passphrase = other.get("passphrase")
        self.key_file = other.get("key_file")
        self.recovery = other.get("recovery")

    def ikm(self) -> bytes:
        if self.kind == RECOVERY:
            return self.recovery
        ikm = b""
        if self.kind in (PASSPHRASE, BOTH):
            ikm += argon2id(normalised(self.passphrase), self.salt, *self.cost)
        if self.kind in (KEY_FILE, BOTH):
            ikm += sha256(self.key_file)
        return ikm

    def before_commit(self, vault_id: bytes) -> bytes:
        total = 100 + len(self.label) + len(self.extension) + 32 + 24 + 32 + 16
        head = b"KEEPSLOT" + struct.pack("<HBBI", self.version, self.kind, 0, total)
        head += self.slot_id + vault_id + self.salt
        head += struct.pack("<IIII", *self.cost, 0)
        head += struct.pack("<HH", len(self.label), len(self.extension))
        return head + self.label + self.extension


def slot_keys(ikm: bytes, salt: bytes, before_commit: bytes, vault: bytes) -> "tuple[bytes, bytes]":
    """KEK and commit."""
    info = b"keepfs v1 slot" + sha256(before_commit) + sha256(vault[:32])
    both = hkdf(salt, ikm, info, 64)
    return both[:32], both[32:]


def slot(parts: SlotParts, vmk: bytes, vault: bytes, ikm: bytes = b"") -> bytes:
    """A whole slot file. `ikm` spares a second Argon2 run where it is known."""
    head = parts.before_commit(vault[16:32])
    kek, commit = slot_keys(ikm or parts.ikm(), parts.salt, head, vault)
    return head + commit + parts.nonce + xchacha_seal(kek, parts.nonce, vmk, b"")

# ---------------------------------------------------------------- section 6

HEADER_LEN, SLOT_OVERHEAD = 128, 40
OPEN, SPARSE = 1, 2
MAX_FILE = 2**63 - 1


class Geometry:
    def __init__(self, chunk_log2: int):
        self.chunk = 1 << chunk_log2
        self.slot = self.chunk + SLOT_OVERHEAD

    def cipher_len(self, plain_len: int) -> int:
        whole, rest = divmod(plain_len, self.chunk)
        return HEADER_LEN + whole * self.slot + SLOT_OVERHEAD + rest

    def plain_len(self, cipher_len: int):
        """None for an illegal length."""
        whole, rest = divmod(cipher_len - HEADER_LEN, self.slot)
        if cipher_len < HEADER_LEN or rest < SLOT_OVERHEAD:
            return None
        return whole * self.chunk + rest - SLOT_OVERHEAD

    def longest_legal_prefix(self, cipher_len: int) -> int:
        if cipher_len < HEADER_LEN + SLOT_OVERHEAD:
            return 0
        whole, rest = divmod(cipher_len - HEADER_LEN, self.slot)
        if rest < SLOT_OVERHEAD:
            return whole * self.chunk - 1
        return whole * self.chunk + rest - SLOT_OVERHEAD

    def max_plain_len(self) -> int:
        return self.longest_legal_prefix(MAX_FILE)


def sealed_fields(flags, generation, size, seal, birth_dir, holes) -> bytes:
    return (
        bytes([flags]) + bytes(7) + struct.pack("<QQ", generation, size)
        + seal + birth_dir + struct.pack("<Q", holes)
    )


def header(file: FileKeys, nonce: bytes, fields: bytes, clear: bytes = b"KPF1" + bytes(4)) -> bytes:
    front = clear + file.file_id
    return front + nonce + xchacha_seal(file.fk, nonce, fields, b"\x00" + front)


def host_tag(keys: Keys, machine: bytes) -> bytes:
    return hmac.digest(keys["journal"], b"host" + machine, "sha256")[:16]


def journal_head(keys: Keys, journal_id: bytes, nonce: bytes, fields: bytes) -> bytes:
    """`fields` are padded with zeros."""
    front = b"KPJ1" + bytes(4) + journal_id
    return front + nonce + xchacha_seal(keys["journal"], nonce, fields.ljust(64, b"\0"), b"keepfs journal" + front)


def journal_frame(keys: Keys, journal_id: bytes, sequence: int, nonce: bytes, record: bytes, data: bytes) -> bytes:
    front = struct.pack("<IIQ", len(record) + 16, len(data), sequence)
    return front + nonce + xchacha_seal(keys["journal"], nonce, record, b"keepfs journal" + journal_id + front) + data


def file_record(nr: int, file_id: bytes, inode: int, fields: bytes, place: bytes) -> bytes:
    return struct.pack("<QQ", 1, nr) + file_id + struct.pack("<Q", inode) + fields + place


def change_record(nr: int, file_id: bytes, fields: bytes, replaced) -> bytes:
    """`replaced`: how, chunk, old tag and new tag of each."""
    entries = [struct.pack("<BQ", how, chunk) + old + new for how, chunk, old, new in replaced]
    return struct.pack("<QQ", 2, nr) + file_id + fields + b"".join(entries)


def done_record(nr: int) -> bytes:
    return struct.pack("<QQ", 3, nr)


def chunk_slot(file: FileKeys, number: int, nonce: bytes, plain: bytes) -> bytes:
    ad = b"\x01" + struct.pack("<Q", number)
    return nonce + xchacha_seal(file.fk, nonce, plain, ad)


def seal_term(file: FileKeys, number: int, tag: bytes) -> bytes:
    return cmac(file.sk, struct.pack("<Q", number) + tag)


def seal_sum(file: FileKeys, geometry: Geometry, first: int, slots: bytes) -> "tuple[bytes, int]":
    """XOR of the terms of consecutive slots, and how many of them are holes."""
    total, holes = bytes(16), 0
    for at in range(0, len(slots), geometry.slot):
        one = slots[at : at + geometry.slot]
        if len(one) == geometry.slot and not any(one):
            holes += 1
        else:
            total = xor(total, seal_term(file, first + at // geometry.slot, one[-16:]))
    return total, holes

# ------------------------------------------------------------ sections 7, 8

def name_siv(keys: Keys, dir_id: bytes, name: bytes) -> bytes:
    return siv_seal(keys["names"], dir_id, pad16(name))


def long_entry(siv: bytes) -> str:
    return "=" + b64(sha256(siv))


def cipher_name(keys: Keys, dir_id: bytes, name: bytes) -> "tuple[str, bytes]":
    """The entry, and the bytes of its side file (empty for a short name)."""
    siv = name_siv(keys, dir_id, name)
    return (b64(siv), b"") if len(name) <= 127 else (long_entry(siv), siv)


def place(keys: Keys, parent: bytes, name: bytes) -> bytes:
    return hmac.new(keys["dirs"], parent + name, hashlib.sha256).digest()[:16]


def pin_record(keys: Keys, at: bytes, dir_id: bytes) -> bytes:
    return siv_seal(keys["pins"], at, dir_id)

# ----------------------------------------------------------- sections 9, 10

LINK_AD = b"keepfs link"


def link_text(keys: Keys, nonce: bytes, target: bytes) -> str:
    return b64(nonce + xchacha_seal(keys["links"], nonce, target, LINK_AD))


def xattr_name(keys: Keys, owner: bytes, name: bytes) -> str:
    return "user.keepfs." + b64(siv_seal(keys["xattr-names"], owner, pad16(name)))


def xattr_value(keys: Keys, owner: bytes, name: bytes, nonce: bytes, value: bytes) -> bytes:
    return nonce + xchacha_seal(keys["xattr-values"], nonce, value, owner + name)

# --------------------------------------------------------------- section 2

def self_test() -> None:
    """The two primitives that are built here rather than called, against the
    vectors of draft-irtf-cfrg-xchacha-03 sections 2.2.1 and A.3.1."""
    key = bytes(range(0x00, 0x20))
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    subkey = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    if hchacha20(key, nonce).hex() != subkey:
        raise AssertionError("HChaCha20 does not give the published subkey")
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
        b"the future, sunscreen would be it."
    )
    got = xchacha_seal(
        bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), plain,
        bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
    )
    if got[:8].hex() != "bd6d179d3e83d43b" or got[-16:].hex() != "c0875924c1c7987947deafd8780acf49":
        raise AssertionError("XChaCha20-Poly1305 does not give the published bytes")
