#!/usr/bin/env python3
"""Decode a keepfs vault without keepfs: a second reading of docs/FORMAT.md.

usage: decode.py [SECRET] [--explain] [--json] VAULT [OUTDIR]

SECRET is --passfile F, --keyfile F, both, or --recovery-file F. The vault is only read, and
nothing is given out that does not authenticate: a damaged chunk leaves a hole in its file, a
damaged header no file. OUTDIR must be empty or not exist. It may be left out with --explain,
which accounts for every byte of every file and for every attribute in the vault: what it
means, and whether that is authentic, of the right form but not proven by this secret (ok), or
unexplained (NO).

Exit codes: 0 all is well; 1 something is damaged, or with --explain something in the vault's
directory has no meaning or no place; 2 the secret opens no slot; 3 there is no vault that this
program can read; 64 wrong usage. Unsealed files and conflict copies are noted, and no error.

Sections are those of docs/FORMAT.md. Needs the package `cryptography`, 38 or newer, and for
passphrases one that knows Argon2id: `cryptography` from 44 on, or `argon2`.
"""
import argparse
import base64
import errno
import hashlib
import hmac
import json
import os
import re
import stat
import struct
import sys
import tempfile
import unicodedata

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

SECRET = {1: "passphrase", 2: "key file", 3: "passphrase and key file", 4: "recovery code"}


# ---- Section 1: the four outcomes, integers, zero bytes

class Outcome(Exception):
    pass


Malformed, Newer, WrongKey, NotAuthentic = (
    type(name, (Outcome,), {}) for name in ("Malformed", "Newer", "WrongKey", "NotAuthentic"))


def require(condition, outcome, what):
    if not condition:
        raise outcome(what)


def uint(data):
    return int.from_bytes(data, "little")


def zero(data):
    return not any(data)


def sha256(data):
    return hashlib.sha256(data).digest()


# ---- Section 2: primitives

def hchacha20(key, nonce):
    """The subkey of XChaCha20. HChaCha20 is a ChaCha20 block without the last addition, so a
    block is asked for and the words that were added, all public, are taken off again."""
    block = Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(bytes(64))
    added = struct.unpack("<8I", b"expand 32-byte k" + nonce)
    kept = struct.unpack("<8I", block[:16] + block[48:])
    return struct.pack("<8I", *((k - a) & 0xFFFFFFFF for k, a in zip(kept, added)))


def open_xc(key, box, ad):
    """nonce || XC(key, nonce, P, AD) to P."""
    if len(box) < 40:
        raise Malformed("too short for nonce and tag")
    try:
        subkey = hchacha20(key, box[:16])
        return ChaCha20Poly1305(subkey).decrypt(bytes(4) + box[16:24], box[24:], ad)
    except InvalidTag:
        raise NotAuthentic("the tag does not verify") from None


def open_siv(key, ad, box):
    try:
        return AESSIV(key).decrypt(box, [ad])
    except InvalidTag:
        raise NotAuthentic("does not authenticate") from None


def unb64(chars):
    require(re.fullmatch(rb"[A-Za-z0-9_-]*", chars) and len(chars) % 4 != 1, Malformed, "no strict b64")
    data = base64.urlsafe_b64decode(chars + b"=" * (-len(chars) % 4))
    require(b64(data) == chars, Malformed, "unused bits are not zero")
    return data


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unpad(data):
    bare = data.rstrip(b"\0")
    good = data and len(data) % 16 == 0 and bare.endswith(b"\x80") and len(data) - len(bare) < 16
    require(good, NotAuthentic, "wrong padding")
    return bare[:-1]


def argon2id(passphrase, salt, m, t, p):
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
        kdf = Argon2id(salt=salt, length=32, iterations=t, lanes=p, memory_cost=m)
        return kdf.derive(passphrase)
    except (ImportError, UnsupportedAlgorithm):
        try:
            from argon2.low_level import Type, hash_secret_raw
        except ImportError:
            print("decode.py: a passphrase needs the package cryptography 44, or argon2", file=sys.stderr)
            sys.exit(64)
    return hash_secret_raw(passphrase, salt, t, m, p, 32, Type.ID, 0x13)


# ---- Section 3: keys

class Keys:
    def __init__(self, vmk, v):
        def K(label, length):
            return HKDF(SHA256(), length, salt=v[16:32], info=b"keepfs v1 " + label).derive(vmk)
        self.chunk = 1 << v[10]
        self.root, self.content, self.names = K(b"root", 16), K(b"content", 32), K(b"names", 64)
        self.pins, self.dirs, self.links = K(b"pins", 64), K(b"dirs", 32), K(b"links", 32)
        self.xattr_names, self.xattr_values = K(b"xattr-names", 64), K(b"xattr-values", 32)
        self.journal = K(b"journal", 32)
        self.fingerprint = K(b"fingerprint", 32)

    def of_file(self, file_id):
        both = HKDFExpand(SHA256(), 64, b"keepfs v1 file" + file_id).derive(self.content)
        return both[:32], both[32:]

    def place(self, dir_id, name):
        """Section 8."""
        return hmac.digest(self.dirs, dir_id + name, "sha256")[:16]


# ---- Section 4: keepfs.vault

def check_vault(v):
    require(len(v) >= 10 and v[:8] == b"KEEPFSv1", Malformed, "keepfs.vault is none")
    require(uint(v[8:10]) == 1, Newer, "a newer keepfs made this vault")
    require(len(v) == 64, Malformed, "keepfs.vault has not 64 bytes")
    require(12 <= v[10] <= 20 and zero(v[11:16]), Malformed, "keepfs.vault breaks a rule")


def shown_fingerprint(fingerprint):
    return " ".join(re.findall("....", fingerprint.hex()))


# ---- Section 5: slots

class Slot:
    def __init__(self, s):
        require(len(s) >= 11 and s[:8] == b"KEEPSLOT", Malformed, "is no slot")
        require(uint(s[8:10]) == 1 and 1 <= s[10] <= 4, Newer, "a newer keepfs made this slot")
        require(len(s) >= 204, Malformed, "is cut")
        self.kind, self.id, self.vault_id, self.salt = s[10], s[16:32], s[32:48], s[48:80]
        self.m, self.t, self.p = struct.unpack("<3I", s[80:92])
        bare = self.kind in (2, 4)
        good = s[11] == 0 and zero(s[92:96]) and not (bare and (self.m or self.t or self.p))
        require(good, Malformed, "has bytes that must be zero")
        length, e = uint(s[96:98]), uint(s[98:100])
        good = uint(s[12:16]) == len(s) and e == 0 and length == len(s) - 204
        require(good, Malformed, "disagrees with its length")
        self.label, self.end = s[100:100 + length], 100 + length
        require(length <= 64 and utf8(self.label), Malformed, "has a malformed label")
        self.bytes, self.commit, self.wrapped = s, s[self.end:self.end + 32], s[self.end + 32:]

    def derive(self, ikm, v):
        info = b"keepfs v1 slot" + sha256(self.bytes[:self.end]) + sha256(v[:32])
        both = HKDF(SHA256(), 64, self.salt, info).derive(ikm)
        return both[:32], both[32:]

    def unlock(self, secrets, v):
        """Steps 2 to 7, to the VMK; None if the secret at hand is of another kind."""
        if self.kind != secrets.kind:
            return None
        if self.kind in (1, 3):
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
            low = self.m <= min(4194304, memory * 3 // 4) and self.t <= 20 and self.p <= 16
            require(low, WrongKey, "costs more than a reader pays")
            high = self.m >= 65536 and self.t >= 3 and self.p >= 1
            require(high, WrongKey, "is cheap to attack, so it is not used")
        secrets.tried += 1
        require(secrets.tried <= 32, WrongKey, "is one too many to try")
        ikm = secrets.ikm(self)
        kek, commit = self.derive(ikm, v)
        if not hmac.compare_digest(commit, self.commit):
            for log2 in range(12, 21):
                other = self.derive(ikm, v[:10] + bytes([log2]) + v[11:])[1]
                require(other != self.commit, NotAuthentic, f"keepfs.vault was changed, chunk_log2 was {log2}")
            raise WrongKey("does not open with this secret")
        try:
            vmk = open_xc(kek, self.wrapped, None)
        except NotAuthentic:
            raise NotAuthentic("its nonce or ciphertext was damaged") from None
        fingerprint = Keys(vmk, v).fingerprint
        require(fingerprint == v[32:64], NotAuthentic, "keepfs.vault was changed, or the slot is another vault's")
        return vmk


class Secrets:
    """What opens a slot: its kind, and A, F or R."""

    def __init__(self, passfile, keyfile, recovery_file):
        self.tried, self.F, self.R = 0, b"", None
        self.kind = 4 if recovery_file else (1 if passfile else 0) + (2 if keyfile else 0)
        if passfile:
            line = re.sub(rb"\r\Z", b"", read_file(passfile).split(b"\n")[0])
            self.passphrase = unicodedata.normalize("NFC", line.decode()).encode() if utf8(line) else line
            require(line, WrongKey, "the passphrase is empty")
        if keyfile:
            data = read_file(keyfile)
            require(data, WrongKey, "the key file is empty")
            self.F = sha256(data)
        if recovery_file:
            self.R = recovery(read_file(recovery_file))

    def ikm(self, slot):
        if self.kind in (1, 3):
            return argon2id(self.passphrase, slot.salt, slot.m, slot.t, slot.p) + self.F
        return self.F or self.R


# ---- Section 5.1: recovery codes and shares

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def times(x, y, modulus):
    """A product in GF(2^n)."""
    product = 0
    while y:
        product ^= x if y & 1 else 0
        x, y = x << 1, y >> 1
        x ^= modulus if x >> (modulus.bit_length() - 1) else 0
    return product


def check_digit(group, g):
    c, power = 0, 1
    for s in group[:4] + [g]:
        power = times(power, 2, 0b100101)
        c ^= times(power, s, 0b100101)
    return c


def letters(typed):
    """The digits of a typed text, check digits among them."""
    digits, pieces = [], [p for p in re.split(r"[ \t\r\n-]+", typed.decode("latin-1").upper()) if p]
    for number, piece in enumerate(pieces):
        piece, at = piece.translate(str.maketrans("OIL", "011")), f"group {len(digits) // 5 + 1}"
        require(set(piece) <= set(DIGITS), WrongKey, f"{at} has a letter that is none")
        whole = len(piece) == 5 or len(piece) >= 10 or number == len(pieces) - 1
        require(whole, WrongKey, f"{at} has not five letters")
        digits += [DIGITS.index(c) for c in piece]
    return digits


def code_or_share(digits):
    """The kind of what `digits` begin with, its bits as a number, and the digits behind it."""
    groups = [digits[i:i + 5] for i in range(0, len(digits), 5)]

    def check(g):
        require(len(groups[g]) == 5 and check_digit(groups[g], g) == groups[g][4], WrongKey, f"group {g + 1} is mistyped")
    check(0)
    kind = groups[0][0] >> 1
    require(kind <= 1, Newer, "this recovery code is of a newer keepfs")
    count = 16 if kind else 14
    for g in range(1, min(count, len(groups))):
        check(g)
    require(len(groups) >= count, WrongKey, "letters are missing at the end")
    plain, bits = [s for group in groups[:count - 1] for s in group[:4]], 0
    h = sha256(b"keepfs v1 letters" + bytes(plain))
    require([b // 8 for b in h[:4]] == groups[count - 1][:4], WrongKey, "the sum is wrong")
    for s in plain:
        bits = bits << 5 | s
    return kind, bits, digits[5 * count:]


def recovery(typed):
    """R, from a text that holds one code or enough shares, each ended by its last letter."""
    digits, shares, low = letters(typed), {}, (1 << 256) - 1
    while digits:
        kind, bits, digits = code_or_share(digits)
        if kind == 0:
            require(not shares and not digits, WrongKey, "more than one code")
            return (bits & low).to_bytes(32, "big")
        m, x, number = bits >> 288 & 255, bits >> 280 & 255, bits >> 264 & 0xFFFF
        require(m >= 2 and x >= 1 and bits & 255 == 0, WrongKey, "a share breaks a rule")
        share = (m, number, (bits >> 8 & low).to_bytes(32, "big"))
        require(shares.setdefault(x, share) == share, WrongKey, "two different shares have one number")
    sets = {(m, number) for m, number, _ in shares.values()}
    require(len(sets) == 1, WrongKey, "no shares, or shares of different sets")
    m = sets.pop()[0]
    require(len(shares) >= m, WrongKey, f"{m} shares are needed")
    return interpolate({x: shares[x][2] for x in sorted(shares)[:m]})


def interpolate(ys):
    """f(0) of the polynomials through the points (x, y), for each byte apart."""
    result = bytearray(32)
    for x, y in ys.items():
        weight = 1
        for other in set(ys) - {x}:
            inverse = next(i for i in range(1, 256) if times(i, x ^ other, 0x11D) == 1)
            weight = times(weight, times(other, inverse, 0x11D), 0x11D)
        for i in range(32):
            result[i] ^= times(weight, y[i], 0x11D)
    return bytes(result)


# ---- Section 6: regular files

def st_size(n, c):
    return 128 + n // c * (c + 40) + 40 + n % c


def plain_size(s, c):
    """n, and the length on the backing that has a meaning (all of it if s is legal)."""
    q, r = divmod(s - 128, c + 40)
    n = 0 if s < 168 else q * c + r - 40 if r >= 40 else q * c - 1
    return n, min(s, st_size(n, c))


class Header:
    """Section 6.2."""

    def __init__(self, keys, h):
        require(h[:4] == b"KPF1" and zero(h[4:8]), NotAuthentic, "the header is none")
        self.FK, self.SK = keys.of_file(h[8:24])
        self.state_fields(open_xc(self.FK, h[24:128], b"\0" + h[:24]))

    @classmethod
    def in_journal(cls, keys, file_id, fields):
        head = cls.__new__(cls)
        head.FK, head.SK = keys.of_file(file_id)
        head.state_fields(fields)
        return head

    def state_fields(self, f):
        require(f[0] < 4, Newer, "a newer keepfs wrote the header")
        self.OPEN, self.SPARSE = bool(f[0] & 1), bool(f[0] & 2)
        self.generation, self.size, self.seal = uint(f[8:16]), uint(f[16:24]), f[24:40]
        self.birth_dir_id, self.holes = f[40:56], uint(f[56:64])
        require(zero(f[1:8]) and self.size < 1 << 63, NotAuthentic, "the header breaks a rule")

    def __str__(self):
        return (f"flags{' OPEN' * self.OPEN}{' SPARSE' * self.SPARSE}, generation {self.generation}, size {self.size}, "
                f"seal {self.seal.hex()}, birth_dir_id {self.birth_dir_id.hex()}, holes {self.holes}")

    def state(self, s, c):
        """Section 6.5."""
        if not self.OPEN and s < st_size(self.size, c):
            return "damaged"
        return "unsealed" if self.OPEN or s > st_size(self.size, c) else "sealed"

    def extent(self, fd, s, c):
        """Section 6.5: plain_size(s, c), but what stands behind a sealed end does not count."""
        last, rest = divmod(self.size, c)
        if not self.OPEN and s > st_size(self.size, c):
            try:
                open_xc(self.FK, os.pread(fd, rest + 40, 128 + last * (c + 40)), b"\x01" + struct.pack("<Q", last))
                return self.size, st_size(self.size, c)
            except Outcome:
                pass
        return plain_size(s, c)


class Contents:
    """Sections 6.1, 6.3 and 6.4: goes through the slots of a file, writes each chunk that
    authenticates to `to`, if there is one, and adds up the seal."""

    def __init__(self, fd, head, c, extent, table, to):
        n, meaning = extent
        self.seal, self.holes, self.lost, count = 0, 0, [], n // c + 1
        cmac, i, skip = CMAC(algorithms.AES(head.SK)), 0, 0
        while i < count:
            at = 128 + i * (c + 40)
            if head.SPARSE and i >= skip:  # whole slots that the backing itself says are zero
                skip = min((next_data(fd, at, meaning) - 128) // (c + 40), count - 1)
                if skip > i:
                    table.slots(i, skip - 1, c + 40, "hole, zero", "authentic")
                    self.holes, i = self.holes + skip - i, skip
                    continue
            batch = min(count - i, max(1, (1 << 20) // c))
            data = memoryview(os.pread(fd, min(batch * (c + 40), meaning - at), at))
            for i in range(i, i + batch):
                slot, data = bytes(data[:c + 40]), data[c + 40:]
                last = i == count - 1
                if head.SPARSE and not last and len(slot) == c + 40 and zero(slot):
                    self.holes += 1
                    table.slots(i, i, len(slot), "hole, zero", "authentic")
                    continue
                term = cmac.copy()
                term.update(struct.pack("<Q", i) + slot[-16:])
                self.seal ^= uint(term.finalize())
                kind = f"24 nonce, {len(slot) - 40} ciphertext, 16 tag"
                try:
                    chunk = open_xc(head.FK, slot, b"\x01" + struct.pack("<Q", i))
                    table.slots(i, i, len(slot), kind, "authentic")
                    if to is not None and chunk:
                        os.pwrite(to, chunk, i * c)
                except Outcome:
                    self.lost.append(i)
                    table.slots(i, i, len(slot), "does not authenticate", "NO")
            i += 1
        self.seal = self.seal.to_bytes(16, "little")


# ---- Section 15: the journal

JOURNAL, FRAME = re.compile(rb"~keepfs-journal-[0-9a-f]{32}\.tmp"), struct.Struct("<IIQ")


class Change:
    """A change of one file: the header to seal it with, and (how, chunk, old tag, new tag, slot)
    for each chunk that is replaced."""

    def __init__(self, keys, file_id, record, data):
        self.head = Header.in_journal(keys, file_id, record[32:96])
        self.replaced, last, at = [], self.head.size // keys.chunk, 0
        for i in range(96, len(record), 41):
            how, chunk, old, new = record[i], uint(record[i + 1:i + 9]), record[i + 9:i + 25], record[i + 25:i + 41]
            require(how in (1, 2, 3) and len(new) == 16, NotAuthentic, "a change breaks a rule")
            length = (keys.chunk if chunk < last else self.head.size % keys.chunk) + 40 if how == 1 else 0
            self.replaced.append((how, chunk, old, new, data[at:at + length]))
            at += length
        require(at == len(data), NotAuthentic, "a change has other slots than it says")


class Pending:
    """What a journal has of one file."""

    def __init__(self, keys, record):
        self.keys, self.file_id, self.base = keys, record[16:32], Header.in_journal(keys, record[16:32], record[40:104])
        self.place, self.changes = record[104:], []

    def laid_over(self, fd, s):
        """The file as replaying would leave it, as a copy and its header; None if it is left alone."""
        c, base, newest = self.keys.chunk, self.base, {}
        try:
            stands = Header(self.keys, os.pread(fd, 128, 0))
            known = [base] + [change.head for change in self.changes]
            last = self.changes[-1].head.generation if self.changes else base.generation
            if stands.generation > last + 2 or not stands.OPEN and all(
                    (stands.size, stands.seal) != (head.size, head.seal) for head in known):
                return None
        except (NotAuthentic, Malformed):
            stands = None

        def there(chunk, length=c + 40):
            return os.pread(fd, min(length, max(0, s - 128 - chunk * (c + 40))), 128 + chunk * (c + 40))

        def opens(chunk, slot):
            try:
                open_xc(base.FK, slot, b"\x01" + struct.pack("<Q", chunk))
                return True
            except Outcome:
                return False

        # Only the newest slots of chunks that are not cut off later count.
        head, counts, missing = base, 0, set()
        for number, change in enumerate(self.changes, 1):
            last = change.head.size // c
            missing = {chunk for chunk in missing if chunk <= last}
            for how, chunk, _, new, slot in change.replaced:
                if how == 2:
                    slot = there(chunk, (c if chunk < last else change.head.size % c) + 40)
                stands_there = how == 3 or chunk > last or slot[-16:] == new and opens(chunk, slot)
                (missing.discard if stands_there else missing.add)(chunk)
            if not missing:
                head, counts = change.head, number
        for change in self.changes[:counts]:
            newest.update({chunk: (how, slot) for how, chunk, _, _, slot in change.replaced})
        untouched = (stands and (stands.generation, stands.seal) == (base.generation, base.seal)
                     and (stands.OPEN if base.OPEN else stands.size == base.size))
        on_the_way = counts and stands and stands.OPEN and stands.generation <= head.generation + 1
        if counts < max(len(self.changes), 1) and not untouched and not on_the_way:
            return None

        def ends(last, length):
            end = there(last, length + 40)
            return len(end) == length + 40 and opens(last, end)

        end, last = st_size(head.size, c), head.size // c
        if not counts and (not ends(last, head.size % c) if s > end else base.OPEN):
            return None
        if counts and base.OPEN:
            shortest = min(st_size(known.size, c) for known in [base] + [change.head for change in self.changes[:counts]])
            if s < shortest or last not in newest and not ends(last, head.size % c):
                return None
        named = {}
        for change in self.changes:
            for _, chunk, old, new, _ in change.replaced:
                named.setdefault(chunk, set()).update((old, new))
        copy = tempfile.TemporaryFile()
        while data := os.pread(fd, 1 << 20, copy.tell()):
            copy.write(data)
        copy.truncate(end if counts else min(s, end))
        for chunk, (how, slot) in newest.items():
            if chunk <= head.size // c and how != 2:
                stood = there(chunk)
                if stood and opens(chunk, stood) and stood[-16:] not in named[chunk]:
                    return None
                copy.seek(128 + chunk * (c + 40))
                copy.write(slot if how == 1 else bytes(c + 40))
        copy.flush()
        return copy, head


def read_journal(fd, entry, keys, report):
    """Of each file number in a journal, what is not in place yet."""
    size, pending = size_at(fd, entry), {}
    f = open_at(fd, entry)
    table = Table(report, entry, size, "journal")
    try:
        require(stat.S_ISREG(os.fstat(f).st_mode), NotAuthentic, "the journal is no regular file")
        h = os.pread(f, 128, 0)
        require(len(h) == 128 and h[:4] == b"KPJ1" and zero(h[4:8]), NotAuthentic, "the journal's head is none")
        fields = open_xc(keys.journal, h[24:], b"keepfs journal" + h[:24])
        require(zero(fields[16:]), Newer, "a newer keepfs wrote the journal")
        table.fields("authentic", (4, "magic"), (4, "zero"), (16, f"journal_id {h[8:24].hex()}"), (24, "nonce"),
                     (64, f"host {fields[:16].hex()}"), (16, "tag"))
        at, expected = 128, None
        while True:
            start = os.pread(f, 16, at)
            m, d, sequence = FRAME.unpack(start) if len(start) == 16 else (0, 0, 0)
            frame = os.pread(f, 24 + m + d, at + 16) if 32 <= m <= 5374064 and d <= 1 << 28 else b""
            if not frame or len(frame) < 24 + m + d or expected not in (None, sequence):
                break
            try:
                record = open_xc(keys.journal, frame[:24 + m], b"keepfs journal" + h[8:24] + start)
            except NotAuthentic:
                break
            kind, nr = record[0], uint(record[8:16])
            try:
                require(zero(record[1:8]) and kind in (1, 2, 3), NotAuthentic, "a record breaks a rule")
                if kind == 1 and nr in pending:
                    pending[nr].place = record[104:]
                elif kind == 1:
                    require(len(record) >= 104, NotAuthentic, "a record is cut")
                    pending[nr] = Pending(keys, record)
                elif kind == 2 and nr in pending:
                    require(len(record) >= 96 and record[16:32] == pending[nr].file_id, NotAuthentic, "a change of another file")
                    pending[nr].changes.append(Change(keys, record[16:32], record, frame[24 + m:]))
                elif kind == 3:
                    pending.pop(nr, None)
            except Outcome:
                break
            what = ("", "file", "change", "done")[kind]
            table.fields("authentic", (40 + m + d, f"frame {sequence}: {what} of number {nr}, {d} bytes of slots"))
            at, expected = at + 40 + m + d, sequence + 1
        table.fields("ok", (size - at, "void, behind the last frame"))
    finally:
        os.close(f)
        table.close()
    return list(pending.values())


def next_data(fd, at, s):
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as e:
        return s if e.errno == errno.ENXIO else at


# ---- Section 7: names

SHORT = {len(b64(bytes(length))) for length in range(32, 145, 16)}


def is_b64(text):
    try:
        return bool(unb64(text))
    except Malformed:
        return False


def is_short(entry):
    return len(entry) in SHORT and is_b64(entry)


def is_long(entry):
    return len(entry) == 44 and entry[:1] == b"=" and is_b64(entry[1:])


# ---- Section 12: entries that are not names

TEMPORARY = re.compile(
    rb"(\.nfs|\.fuse_hidden|\.stfolder|\.stversions|\.sync_|\._sync_|\.csync_journal\.db|\.owncloudsync\.log"
    rb"|\.nextcloudsync\.log|\.unison\.|\.getxfer\.).*|(\.syncthing\.|~syncthing~).*\.tmp"
    rb"|\.stignore|\.dropbox(\.attr|\.cache)?|\.debris|\.megaignore|\.~tmp~|\.tmp\.drive(down|up)load"
    rb"|\..+\.~[0-9A-Fa-f]+|\..+\.[0-9A-Za-z]{6}"
    rb"|.*(\.partial|~|\.sbak|\.part|\.nextcloud|\.owncloud|\.rclonelink|\.![Ss]ync|\.Sync(Part|Temp|Old)|\.insyncdl|\.mega)",
    re.S)
YMD, HMS, DATE = rb"(\d{4})(\d\d)(\d\d)", rb"(\d\d)(\d\d)\d\d", rb"(\d{4})-(\d\d)-(\d\d)"
COUNT = rb"(?: \d+)?"
CLIENTS = [(client, re.compile(form, re.S)) for client, form in (
    (b"syncthing", rb"\.sync-conflict-" + YMD + b"-" + HMS + rb"(?:-[A-Z0-9]{7})?"),
    (b"nextcloud", rb" \(conflicted copy (?:.* )?" + DATE + b" " + HMS + rb"\)"),
    (b"nextcloud", rb" \(case clash from " + DATE + b" " + HMS + rb"\)"),
    (b"nextcloud", rb"_conflict(?:_.*)?-" + YMD + b"-" + HMS),
    (b"dropbox", rb" \((?:.* )?conflicted copy " + DATE + COUNT + rb"\)"),
    (b"dropbox", rb" \((?:In Konflikt stehende Kopie von|Copie en conflit de|Copia conflictiva de) .* " + DATE + COUNT + rb"\)"),
    (b"dropbox", rb" \(.* in Konflikt stehende Kopie " + DATE + COUNT + rb"\)"),
    (b"dropbox", rb" \((?:Case|Selective Sync|Unicode Encoding) Conflict" + COUNT + rb"\)"),
    (b"rclone", rb"(?:\.conflict|\.\.?path)\d+"),
    (b"onedrive", rb"-.*-safeBackup-\d{4}"),
    (b"google-drive", rb" \(\d+\)"),
    (b"unison", rb" \(conflict(?: #\d+)?_on_" + DATE + rb"(?:_was_deleted)?\)"),
    (b"seafile", rb" \(SFConflict .*" + DATE + rb"-(\d\d)-(\d\d)-\d\d\)"),
    (b"seafile", rb" \(SFConflict .*\)"),
    (b"seafile", rb" \((?:.* )?" + DATE + rb"-(\d\d)-(\d\d)-\d\d\)"),
    (b"pcloud", rb" ?\(conflicted" + COUNT + rb"\)| \[conflicted" + COUNT + rb"\]|\.conflicted"),
    (b"resilio", rb"\.Conflict\d*"))]


def entry_class(entry):
    if is_short(entry):
        return "short"
    if is_long(entry):
        return "long"
    if entry[44:45] == b"=" and is_long(entry[:44]):
        return "side file" if len(entry) == 45 else "internal"
    if entry.startswith((b"keepfs", b"~keepfs")):
        return "internal"
    return "temporary" if TEMPORARY.fullmatch(entry) else "other"


def leading_runs(entry):
    """What an entry may be an entry of: itself, then the leading runs, longest first."""
    for length in sorted(SHORT, reverse=True):
        if length <= len(entry) and is_short(entry[:length]):
            yield entry[:length]
    if is_long(entry[:44]) and entry[44:45] != b"=":
        yield entry[:44]


def conflict_name(name, entry, suffix):
    what = [hashlib.sha256(entry).hexdigest()[:8].encode()]
    for client, form in CLIENTS:
        match = form.fullmatch(suffix)
        if match:
            when = match.groups()
            what = [client] + [mark.join(part) for mark, part in ((b"-", when[:3]), (b":", when[3:])) if part] + what
            break
    dot = name.rfind(b".")
    stem, ext = (name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, b"")
    mark = b" [conflict " + b" ".join(what) + b"]"
    if len(stem + mark + ext) > 255:
        ext = ext if len(ext) <= 64 else b""
        stem = stem[:255 - len(mark) - len(ext)]
        if utf8(name):
            stem = stem.decode("utf-8", "ignore").encode()
    return stem + mark + ext


# ---- The account of what was found

def utf8(data):
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def escaped(path):
    shown = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def text(path):
    return path.decode("utf-8", "surrogateescape")


class Report:
    def __init__(self, explain, as_json):
        self.explain, self.json, self.objects, self.bytes = explain, as_json, 0, {"authentic": 0, "ok": 0, "NO": 0}
        self.entries, self.tables, self.damaged, self.notes, self.unplaced = [], [], [], [], []

    def damage(self, path, what, kind="damaged", to=None):
        (self.damaged if to is None else to).append({"path": text(path), "text": what})
        print(f"{kind}: {escaped(path)}: {what}", file=sys.stderr)

    def note(self, path, what):
        self.damage(path, what, "note", self.notes)

    def no_place(self, path, what):
        self.damage(path, what, "without a place", self.unplaced)


class Table:
    """One object of the backing, byte by byte: rows of offset, length, status and meaning. The
    status is authentic; ok, of the right form but proven by nothing at hand; or NO."""

    def __init__(self, report, backing, size, what="file"):
        self.report, self.backing, self.size, self.what = report, backing, size, what
        self.rows, self.at, self.run = [], 0, None

    def fields(self, status, *fields):
        for length, meaning in fields:
            length = min(length, self.size - self.at)
            if length > 0:
                self.rows.append([self.at, length, status, meaning])
                self.at, self.run = self.at + length, None

    def slots(self, first, last, length, kind, status):
        """Slots of one length; the like of them, one behind the other, are put into one row."""
        if self.run and self.run[1:] == (length, kind, status):
            first, self.at = self.run[0], self.rows.pop()[0]
        run, name = (first, length, kind, status), f"slot {last}" if first == last else f"slots {first} to {last}, each"
        self.fields(status, ((last - first + 1) * length, f"{name}: {kind}"))
        self.run = run

    def close(self):
        self.fields("NO", (self.size - self.at, "unexplained"))
        self.report.objects += 1
        for _, length, status, _ in self.rows:
            self.report.bytes[status] += length
        if self.report.explain and self.report.json:
            self.report.tables.append({"backing": text(self.backing), "what": self.what, "rows": self.rows})
        elif self.report.explain:
            print(f"{escaped(self.backing)}: {self.what}, {self.size} bytes")
            print("".join("  {:12} {:12}  {:9}  {}\n".format(*row) for row in self.rows), end="")


# ---- The walk

def join(directory, name):
    return directory + b"/" + name if directory else name


def listed(fd):
    return sorted(os.fsencode(entry) for entry in os.listdir(fd))


def size_at(fd, entry):
    return os.stat(entry, dir_fd=fd, follow_symlinks=False).st_size


def open_at(fd, entry, flags=0):
    return os.open(entry, flags | os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)


def read_at(fd, entry, limit):
    """The first bytes of a regular file."""
    f = open_at(fd, entry)
    try:
        require(stat.S_ISREG(os.fstat(f).st_mode), NotAuthentic, "is no regular file")
        return os.pread(f, limit, 0)
    finally:
        os.close(f)


class Decoder:
    def __init__(self, keys, report, out):
        self.keys, self.report, self.out, self.inodes, self.notes, self.sides = keys, report, out, {}, {}, {}
        self.pending = []

    def read_journals(self, fd):
        for entry in listed(fd):
            if JOURNAL.fullmatch(entry):
                try:
                    self.pending += read_journal(fd, entry, self.keys, self.report)
                except (Outcome, OSError) as e:
                    self.report.damage(entry, str(e))
        # A place is a hint: it counts if the file is there.
        for pending in self.pending:
            try:
                if read_at(fd, pending.place, 24)[8:] != pending.file_id:
                    pending.place = None
            except (Outcome, OSError, ValueError):
                pending.place = None

    # Section 8: the ids under which the names in a directory may stand, its own first
    def dir_ids(self, fd, place, backing):
        if not backing:
            return [place]
        path, ids = join(backing, b"keepfs.dir"), []
        try:
            ids = self.pin(fd, b"keepfs.dir", place, path)
        except FileNotFoundError:
            pass
        except (Outcome, OSError):
            self.lost(fd, b"keepfs.dir", path)
            raise
        return list(dict.fromkeys(ids + [place] + self.noted(place)))

    def noted(self, place):
        tag, ids = hmac.digest(self.keys.dirs, place + b"\0pin", "sha256")[:16], []
        for record in self.notes.get(tag, ())[:16]:
            try:
                ids.append(open_siv(self.keys.pins, place, record))
            except NotAuthentic:
                pass
        return ids

    # Section 8, notes: keepfs.names in the root
    def read_notes(self, root):
        try:
            fd = open_at(root, b"keepfs.names", os.O_DIRECTORY)
        except FileNotFoundError:
            return
        for entry in sorted(listed(fd)):
            path, tag, record = join(b"keepfs.names", entry), entry[:22], entry[23:66]
            if is_long(entry[:44]) and entry[44:45] == b"=":
                B = read_at(fd, entry, 273)
                if b64(sha256(B)) == entry[1:44]:
                    table = Table(self.report, path, size_at(fd, entry), "kept side file")
                    table.fields("ok", (len(B), "B of a long name, a second time"))
                    table.close()
                    self.sides[entry[:44]] = B
                else:
                    self.report.no_place(path, "looks like a side file, and is altered")
                    self.lost(fd, entry, path)
                continue
            if entry[22:23] == b"." and is_b64(tag) and is_b64(record) and len(record) == 43:
                notes = self.notes.setdefault(unb64(tag), [])
                notes.extend([unb64(record)] if unb64(record) not in notes else [])
            else:
                self.report.no_place(path, "is no note")
            if size_at(fd, entry):
                self.lost(fd, entry, path)
        os.close(fd)

    def pin(self, fd, entry, place, path):
        pin, ids = read_at(fd, entry, 65), []
        table = Table(self.report, path, size_at(fd, entry), "pin")
        try:
            require(len(pin) in (32, 64), NotAuthentic, "the pin has not 32 or 64 bytes")
            for record in (pin[:32], pin[32:])[:len(pin) // 32]:
                try:
                    ids.append(open_siv(self.keys.pins, place, record))
                    table.fields("authentic", (32, f"record of this place, dir_id {ids[0].hex()}"))
                except NotAuthentic:
                    table.fields("ok", (32, "record of another place"))
            require(len(ids) < 2, NotAuthentic, "both records of the pin open")
        finally:
            table.close()
        return ids

    # Section 7: B to its name, and the number of the id that opened it
    def plain_name(self, B, ids):
        for number, dir_id in enumerate(ids):
            try:
                name = unpad(open_siv(self.keys.names, dir_id, B))
            except NotAuthentic:
                continue
            good = 1 <= len(name) <= 255 and name not in (b".", b"..") and not set(b"/\0") & set(name)
            require(good, NotAuthentic, "is no plain name")
            return name, number
        raise NotAuthentic("its name does not authenticate")

    def side_file(self, fd, entry, ids):
        try:
            B = read_at(fd, entry, 273)
            require(b64(sha256(B)) == entry[1:44], NotAuthentic, "its side file is altered")
        except (Outcome, OSError):
            if entry[:44] not in self.sides:
                raise
            B = self.sides[entry[:44]]
        name, number = self.plain_name(B, ids)
        require(len(name) >= 128, NotAuthentic, "a short name in the long form")
        return name, number

    # Section 12, conflict copies: an entry to its name, the number of its id, and the suffix
    def resolve(self, fd, entry, ids):
        reason = Malformed("is foreign")
        for run in leading_runs(entry):
            try:
                named = self.plain_name(unb64(run), ids) if is_short(run) else self.side_file(fd, run + b"=", ids)
                return (*named, entry[len(run):])
            except (Outcome, OSError) as e:
                reason = e if run == entry else reason
        raise reason

    # Sections 8 and 12; gives the directory's id
    def directory(self, fd, out, place, plain, backing):
        found, sides, taken, needed, rest = [], [], set(), set(), listed(fd)
        try:
            ids = self.dir_ids(fd, place, backing)
        except (Outcome, OSError) as e:
            self.report.damage(plain, f"the directory cannot be read: {e}")
            for entry in rest:
                if entry != b"keepfs.dir":
                    self.lost(fd, entry, join(backing, entry))
            return None
        for entry in rest:
            kind, path = entry_class(entry), join(backing, entry)
            try:
                if kind in ("short", "long", "other"):
                    name, number, suffix = self.resolve(fd, entry, ids)
                    found.append((suffix != b"", number, entry, name, suffix, ids[number]))
                    needed.add(entry[:44] + b"=")
                elif entry[44:45] == b"=" and is_long(entry[:44]):
                    sides.append(entry)
                elif not backing and JOURNAL.fullmatch(entry):
                    continue
                elif entry not in ((b"keepfs.dir",) if backing else (b"keepfs.vault", b"keepfs.slots", b"keepfs.names")):
                    raise Malformed(f"is {kind}")
            except (Outcome, OSError) as e:
                if kind in ("short", "long"):
                    self.report.damage(path, f"an entry of {escaped(plain) or 'the root'}: {e}")
                else:
                    self.report.no_place(path, str(e))
                self.lost(fd, entry, path)
        for entry in sides:
            self.side(fd, entry, ids, needed, join(backing, entry))
        owner = {name: number for copy, number, _, name, *_ in sorted(found, reverse=True) if not copy}
        found = [(copy or owner[name] < number, entry, name, *rest) for copy, number, entry, name, *rest in found]
        for copy, entry, name, suffix, dir_id in sorted(found):
            shown = conflict_name(name, entry, suffix) if copy else name
            path, where = join(plain, shown), join(backing, entry)
            if copy:
                self.report.note(where, f"is a conflict copy of {escaped(join(plain, name))}, shown as {escaped(path)}")
            if shown in taken:
                self.report.damage(where, f"is not shown, as there is another {escaped(path)}")
                path, shown = join(path, entry), None
            taken.add(shown)
            try:
                self.object(fd, entry, out if shown else None, shown, self.keys.place(dir_id, name), path, where)
            except (Outcome, OSError) as e:
                self.report.damage(path, str(e))
        return ids[0]

    # Section 7: a side file or a copy of one, whether an entry needs it or not
    def side(self, fd, entry, ids, needed, path):
        table = Table(self.report, path, size_at(fd, entry), "side file" if len(entry) == 45 else "copy of a side file")
        try:
            B, status, meaning = read_at(fd, entry, 273), "ok", "B under a former id of this directory"
            good = b64(sha256(B)) == entry[1:44] and len(B) in range(160, 273, 16)
            require(good, NotAuthentic, "looks like a side file, and is altered")
            try:
                meaning, status = f"B of {escaped(self.plain_name(B, ids)[0])}", "authentic"
            except NotAuthentic:
                pass
            table.fields(status, (len(B), meaning))
            if entry[:45] not in needed:
                self.report.no_place(path, "is a side file without an entry")
        except (Outcome, OSError) as e:
            self.report.no_place(path, str(e))
        finally:
            table.close()

    # What has no name or no key: every byte is unexplained
    def lost(self, fd, entry, path):
        if stat.S_ISDIR(os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode):
            child = open_at(fd, entry, os.O_DIRECTORY)
            for inner in listed(child):
                self.lost(child, inner, join(path, inner))
            os.close(child)
        else:
            Table(self.report, path, size_at(fd, entry)).close()

    # An object whose name is known; `place` is the one of a directory. Section 11
    def object(self, fd, entry, out, name, place, plain, backing):
        st = os.stat(entry, dir_fd=fd, follow_symlinks=False)
        record, times, to = {"path": text(plain), "backing": text(backing)}, (st.st_atime_ns, st.st_mtime_ns), None
        self.report.entries.append(record)
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            first = self.inodes.setdefault((st.st_dev, st.st_ino), plain)
            if first != plain:
                return self.hard_link(first, out, name, record, plain)
        if stat.S_ISLNK(st.st_mode):
            record["type"] = "symbolic link"
            target = self.link_target(os.fsencode(os.readlink(entry, dir_fd=fd)), backing)
            record["target"] = text(target)
            if out is not None:
                os.symlink(target, name, dir_fd=out)
                os.utime(name, ns=times, dir_fd=out, follow_symlinks=False)
        elif stat.S_ISDIR(st.st_mode) or stat.S_ISREG(st.st_mode):
            f = open_at(fd, entry)
            try:
                if stat.S_ISREG(st.st_mode):
                    record["type"] = "file"
                    self.regular(f, st, out, name, record, plain, backing)
                else:
                    record["type"] = "directory"
                    if out is not None:
                        os.mkdir(name, 0o700, dir_fd=out)
                        to = open_at(out, name, os.O_DIRECTORY)
                    dir_id = self.directory(f, to, place, plain, backing)
                    self.metadata(f, to, st, dir_id, record, plain, backing)
            finally:
                os.close(f)
                if to is not None:
                    os.close(to)
        else:
            record["type"] = "special file"
            if out is not None and stat.S_ISFIFO(st.st_mode):
                os.mkfifo(name, 0o600, dir_fd=out)
                os.chmod(name, st.st_mode & 0o777, dir_fd=out)
                os.utime(name, ns=times, dir_fd=out)
            elif out is not None:
                self.report.note(plain, "is a device or socket, and not made again")

    def hard_link(self, first, out, name, record, plain):
        record["type"], record["link"] = "hard link", text(first)
        damaged = any(problem["path"] == text(first) for problem in self.report.damaged)
        if damaged:
            self.report.damage(plain, f"is a hard link to {escaped(first)}, which is damaged")
        try:
            if out is not None:
                os.link(first, name, src_dir_fd=self.out, dst_dir_fd=out, follow_symlinks=False)
        except OSError:
            require(damaged, NotAuthentic, f"is a hard link to {escaped(first)}, and cannot be made")

    def regular(self, f, st, out, name, record, plain, backing):
        """A file, with what a journal has of it."""
        file_id = os.pread(f, 24, 0)[8:]
        for pending in self.pending:
            if pending.file_id == file_id and pending.place in (None, backing):
                laid_over = pending.laid_over(f, st.st_size)
                if laid_over is None:
                    # One without changes is of a file in the making: read as it stands, torn end and all.
                    if pending.changes:
                        self.report.note(plain, "a journal has changes of another version of it")
                    continue
                table = Table(self.report, backing, st.st_size)
                table.fields("ok", (st.st_size, "stands below what the journal has of it"))
                table.close()
                self.report.note(plain, "the journal has changes of it, which are laid over it")
                with laid_over[0]:
                    return self.contents(f, laid_over, st, out, name, record, plain, backing)
        return self.contents(f, None, st, out, name, record, plain, backing)

    # Section 6.5
    def contents(self, f, laid_over, st, out, name, record, plain, backing):
        image, head = (laid_over[0].fileno(), laid_over[1]) if laid_over else (f, None)
        c, s, h, to = self.keys.chunk, os.fstat(image).st_size, os.pread(f, 128, 0), None
        table, record["state"] = Table(self.report, backing, s), "damaged"
        try:
            require(s, NotAuthentic, "its creation was interrupted")
            require(s >= 168, NotAuthentic, "is cut to less than the shortest file")
            head = head or Header(self.keys, h)
            record["state"], extent = head.state(s, c), head.extent(image, s, c)
            n = extent[0]
            table.fields("authentic", (4, "magic"), (4, "zero"), (16, f"file_id {h[8:24].hex()}"), (24, "nonce"),
                         (64, f"sealed fields: {head}"), (16, "tag"))
            if out is not None and record["state"] != "damaged":
                to = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=out)
                os.ftruncate(to, n)
            found = Contents(image, head, c, extent, table, to)
            if extent != plain_size(s, c):
                table.fields("ok", (s - extent[1], "void, behind the sealed end"))
            record["size"], record["lost"] = n, [[i * c, min(n, i * c + c)] for i in found.lost]
            if found.lost:
                lost = ", ".join(f"{a} to {b}" for a, b in record["lost"][:8])
                self.report.damage(plain, f"bytes {lost}{', ...' * (len(found.lost) > 8)} do not authenticate")
            if record["state"] == "damaged":
                self.report.damage(plain, f"was cut: it had {head.size} bytes when it was sealed")
            elif record["state"] == "unsealed":
                self.report.note(plain, "is unsealed")
            else:
                record["seal"] = "verified" if (found.seal, found.holes) == (head.seal, head.holes) else "wrong"
                if record["seal"] == "wrong" and not found.lost:
                    self.report.damage(plain, "its seal is wrong: each chunk is authentic, but not all of one time")
        finally:
            if not laid_over:
                table.close()
            self.metadata(f, to, st, h[8:24], record, plain, backing)
            if to is not None:
                os.close(to)

    # Section 9
    def link_target(self, target, backing):
        table = Table(self.report, backing, len(target), "symbolic link")
        try:
            plain = open_xc(self.keys.links, unb64(target), b"keepfs link")
            require(1 <= len(plain) <= 4095 and b"\0" not in plain, NotAuthentic, "is no target")
            table.fields("authentic", (len(target), f"b64 of 24 nonce, {len(plain)} ciphertext, 16 tag"))
            return plain
        finally:
            table.close()

    # Section 10; then mode and times of section 11
    def metadata(self, fd, to, st, object_id, record, plain, backing):
        record["xattrs"] = {}
        for attribute in sorted(os.fsencode(a) for a in os.listxattr(fd) if a.startswith("user.")):
            if not attribute.startswith(b"user.keepfs."):
                self.report.note(plain, f"its attribute {escaped(attribute)} is not of keepfs")
                continue
            box = os.getxattr(fd, attribute)
            table = Table(self.report, join(backing, attribute), len(box), "attribute")
            try:
                require(object_id, NotAuthentic, "its object has no id")
                name = unpad(open_siv(self.keys.xattr_names, object_id, unb64(attribute[12:])))
                require(1 <= len(name) <= 159 and b"\0" not in name, NotAuthentic, "is no name")
                value = open_xc(self.keys.xattr_values, box, object_id + name)
                table.fields("authentic", (len(box), f"user.{escaped(name)}: 24 nonce, {len(value)} ciphertext, 16 tag"))
                record["xattrs"]["user." + text(name)] = base64.b64encode(value).decode()
                if to is not None:
                    os.setxattr(to, b"user." + name, value)
            except Outcome as e:
                self.report.damage(plain, f"its attribute {escaped(attribute)}: {e}")
            except OSError as e:
                self.report.note(plain, f"its attribute user.{escaped(name)} cannot be stored there: {e.strerror}")
            finally:
                table.close()
        if to is not None:  # who stores the vault may have set the bits that lend rights to a program
            os.fchmod(to, st.st_mode & (0o7777 if stat.S_ISDIR(st.st_mode) else 0o1777))
            os.utime(to, ns=(st.st_atime_ns, st.st_mtime_ns))


# ---- Section 5: keepfs.slots, and what lies in it

def unlock(fd, v, secrets, report):
    """The VMK, or the worst outcome of the slots that were tried."""
    slots, vmk, reasons = open_at(fd, b"keepfs.slots", os.O_DIRECTORY), None, []
    require(len(os.listdir(slots)) <= 1024, Malformed, "keepfs.slots has more than 1024 entries")
    for entry in listed(slots):
        path, status = b"keepfs.slots/" + entry, "ok"
        table = Table(report, path, size_at(slots, entry), "slot")
        try:
            slot = Slot(read_at(slots, entry, 269))
            require(slot.vault_id == v[16:32], Malformed, "is a slot of another vault")
            hexadecimal = slot.id.hex().encode()
            copy = re.match(hexadecimal + rb"[^0-9A-Za-z]", entry)
            require(copy, Malformed, "is not named like its slot, and not used")
            if entry != hexadecimal + b".slot":
                report.note(path, "is a copy of a slot, and not used")
            elif not vmk:
                try:
                    vmk = slot.unlock(secrets, v)
                    status = "authentic" if vmk else "ok"
                except Outcome as e:
                    reasons.append(e)
                    report.note(path, str(e))
            table.fields(status, (8, "magic"), (2, "version"), (1, f"kind, {SECRET[slot.kind]}"), (1, "zero"),
                         (4, "T"), (16, "slot_id"), (16, "vault_id"), (32, "salt"), (4, f"m = {slot.m}"),
                         (4, f"t = {slot.t}"), (4, f"p = {slot.p}"), (4, "zero"), (2, "l"), (2, "e"),
                         (len(slot.label), "label"), (32, "commit"), (24, "nonce"), (32, "wrapped VMK"), (16, "tag"))
        except (Outcome, OSError) as e:
            report.no_place(path, str(e))
        finally:
            table.close()
    if vmk:
        return vmk
    raise next((e for e in reasons if isinstance(e, NotAuthentic)), WrongKey("the secret opens no slot"))


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def decode(fd, secrets, out, report):
    v = read_at(fd, b"keepfs.vault", 65)
    check_vault(v)
    vmk = unlock(fd, v, secrets, report)
    table = Table(report, b"keepfs.vault", len(v), "what identifies the vault")
    table.fields("authentic", (8, "magic"), (2, "format"), (1, f"chunk_log2, C = {1 << v[10]}"), (5, "zero"),
                 (16, "vault_id"), (32, "fingerprint"))
    table.close()
    decoder, record = Decoder(Keys(vmk, v), report, out), {"path": "", "backing": "", "type": "directory"}
    report.entries.append(record)
    decoder.read_notes(fd)
    decoder.read_journals(fd)
    dir_id = decoder.directory(fd, out, decoder.keys.root, b"", b"")
    decoder.metadata(fd, out, os.fstat(fd), dir_id, record, b"", b"")
    bad = report.damaged or report.explain and (report.bytes["NO"] or report.unplaced)
    summary(report, decoder.keys, 1 if bad else 0)
    return 1 if bad else 0


def summary(report, keys, code):
    fingerprint, total, left = shown_fingerprint(keys.fingerprint), sum(report.bytes.values()), report.bytes["NO"]
    if report.json:
        print(json.dumps({
            "fingerprint": fingerprint, "chunk_size": keys.chunk, "exit": code, "entries": report.entries,
            "damaged": report.damaged, "notes": report.notes, "without_place": report.unplaced,
            "tables": report.tables, "objects": report.objects, "bytes": total,
            "authentic": report.bytes["authentic"], "ok": report.bytes["ok"], "unexplained": left}))
        return

    def count(key, value):
        return sum(record.get(key) == value for record in report.entries)
    print("fingerprint: " + fingerprint)
    kinds = ("directory", "file", "symbolic link", "hard link", "special file")
    print(", ".join(f"{kind}: {count('type', kind)}" for kind in kinds), end=", ")
    print(f"attribute: {sum(len(record.get('xattrs', ())) for record in report.entries)}")
    print(f"files: {count('state', 'sealed')} sealed, of these {count('seal', 'verified')} with the right seal, "
          f"{count('state', 'unsealed')} unsealed, {count('state', 'damaged')} damaged")
    if report.explain:
        print(f"total: {total} bytes in {report.objects} objects: {report.bytes['authentic']} authentic, "
              f"{report.bytes['ok']} of the right form\nwithout a place: {len(report.unplaced)}\nunexplained: {left}")


def main():
    def fail(code, message):
        print(f"decode.py: {message}", file=sys.stderr)
        sys.exit(code)
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.error = lambda message: fail(64, message)
    for flag in ("--passfile", "--keyfile", "--recovery-file"):
        parser.add_argument(flag)
    for flag in ("--explain", "--json"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("VAULT")
    parser.add_argument("OUTDIR", nargs="?")
    args, out = parser.parse_args(), None
    if bool(args.passfile or args.keyfile) == bool(args.recovery_file):
        fail(64, "give a passphrase, a key file, both, or a recovery code")
    if not args.OUTDIR and not args.explain:
        fail(64, "where to? OUTDIR is missing")
    try:
        secrets = Secrets(args.passfile, args.keyfile, args.recovery_file)
        if args.OUTDIR:
            vault, target = os.path.realpath(args.VAULT), os.path.realpath(args.OUTDIR)
            if os.path.commonpath([vault, target]) == vault:
                fail(64, "OUTDIR is in the vault")
            os.makedirs(target, 0o700, exist_ok=True)
            if os.listdir(target):
                fail(64, "OUTDIR is not empty")
            out = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as e:
        fail(64, e)
    except Outcome as e:
        fail(2, e)
    sys.setrecursionlimit(100000)
    try:
        fd = os.open(args.VAULT, os.O_RDONLY | os.O_DIRECTORY)
        sys.exit(decode(fd, secrets, out, Report(args.explain, args.json)))
    except WrongKey as e:
        fail(2, e)
    except NotAuthentic as e:
        fail(1, f"damaged: {e}")
    except (Malformed, Newer, OSError) as e:
        fail(3, f"no vault that can be read: {e}")


if __name__ == "__main__":
    main()
