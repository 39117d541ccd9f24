"""The test vectors: which cases there are, and what each must give.

`all_cases()` maps a path below tests/vectors to the text of that case. The text
is `key: value` lines: `kind` names the decoder, `about` says what is tested,
`expect` is `ok` or the check that must fail, bytes are in hex. A key may repeat.
"""

import struct

import keepfs_format as f

CHUNK_LOG2 = 12
GEOMETRY = f.Geometry(CHUNK_LOG2)
C, S = GEOMETRY.chunk, GEOMETRY.slot
PASSPHRASE = "correct horse battery stapl\u00e9".encode()


def noise(label: str, length: int) -> bytes:
    """Bytes without a pattern, the same in every run."""
    out = b""
    while len(out) < length:
        out += f.sha256(f"keepfs vectors {label} {len(out)}".encode())
    return out[:length]


def flip(data: bytes, at: int, bits: int = 1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


class Cases:
    def __init__(self):
        self.texts = {}

    def add(self, path: str, about: str, expect: str = "ok", **fields) -> None:
        lines = [f"kind: {path.split('/')[0]}", f"about: {about}", f"expect: {expect}"]
        for key, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                lines.append(f"{key}: {one.hex() if isinstance(one, bytes) else one}".rstrip())
        name = f"{path}.txt"
        if name in self.texts:
            raise AssertionError(f"two cases are called {path}")
        self.texts[name] = "\n".join(lines) + "\n"


class Vault:
    """A vault with fixed keys, and a key-file slot that opens it cheaply."""

    def __init__(self, name: str):
        self.name = name
        self.keys = f.Keys(noise(f"{name} vault_id", 16), noise(f"{name} vmk", 32))
        self.file = f.vault_file(self.keys, CHUNK_LOG2)
        self.key_file = noise(f"{name} key file", 48)
        self.slot = f.slot(self.parts(), self.keys.vmk, self.file)
        self.root = self.keys["root"]

    def parts(self, kind: int = f.KEY_FILE, tag: str = "key", **other) -> f.SlotParts:
        seed = f"{self.name} slot {tag}"
        other.setdefault("label", b"key file")
        other.setdefault("key_file", self.key_file)
        return f.SlotParts(
            kind, noise(f"{seed} id", 16), noise(f"{seed} salt", 32), noise(f"{seed} nonce", 24), **other
        )


ALPHA, BETA = Vault("alpha"), Vault("beta")


def key_cases(cases: Cases) -> None:
    for vault in (ALPHA, BETA):
        text = f.fingerprint_text(vault.keys["fingerprint"]).split("\n")
        tree = {f"K({label})": key for label, key in vault.keys.tree.items()}
        file_id = noise("any file", 16)
        file = vault.keys.file(file_id)
        cases.add(
            f"keys/{vault.name}", "the key tree of a vault, and a slot through which it opens",
            vault_id=vault.keys.vault_id, vmk=vault.keys.vmk, vault=vault.file,
            slot=vault.slot, key_file=vault.key_file, **tree,
            fingerprint_line=text, file_id=file_id, FK=file.fk, SK=file.sk,
        )


def vault_cases(cases: Cases) -> None:
    def case(name, about, data, expect="ok", **fields):
        cases.add(f"vault/{name}", about, expect, vault=data, **fields)

    keys = ALPHA.keys
    for log2 in range(12, 21):
        case(
            f"chunk-{log2}", f"chunks of 2^{log2} bytes", f.vault_file(keys, log2),
            vault_id=keys.vault_id, chunk_log2=log2, fingerprint=keys["fingerprint"],
        )
    good = ALPHA.file
    case("empty", "no bytes at all", b"", "bad-length")
    case("cut-in-magic", "5 bytes", good[:5], "bad-length")
    case("magic", "one bit of the magic", flip(good, 7), "bad-magic")
    case("format-0", "format 0 was never written", put(good, 8, b"\0\0"), "unknown-version")
    case("format-2", "a newer format", put(good, 8, b"\2\0"), "unknown-version")
    case("format-big-endian", "format in the wrong byte order", put(good, 8, b"\0\1"), "unknown-version")
    case("cut", "63 bytes", good[:-1], "bad-length")
    case("extended", "65 bytes", good + b"\0", "bad-length")
    case("chunk-11", "chunks too small", put(good, 10, b"\x0b"), "bad-chunk-size")
    case("chunk-21", "chunks too large", put(good, 10, b"\x15"), "bad-chunk-size")
    case("chunk-255", "an absurd chunk size", put(good, 10, b"\xff"), "bad-chunk-size")
    for at in range(11, 16):
        case(f"reserved-{at}", f"byte {at} is not zero", put(good, at, b"\x80"), "reserved-not-zero")


def slot_cases(cases: Cases) -> None:
    vault, vmk = ALPHA.file, ALPHA.keys.vmk
    shared = ALPHA.parts(f.PASSPHRASE, "passphrase", passphrase=PASSPHRASE, label="Käthe".encode())
    ikm = shared.ikm()

    def case(name, about, data, expect="ok", vault_file=vault, **fields):
        cases.add(f"slot/{name}", about, expect, vault=vault_file, slot=data, **fields)

    def good(name, about, parts, data, **fields):
        case(name, about, data, slot_id=parts.slot_id, kind_number=parts.kind, label=parts.label, **fields)

    by_phrase = f.slot(shared, vmk, vault, ikm)
    phrase = {"passphrase": PASSPHRASE}
    key = {"key_file": ALPHA.key_file}
    good("passphrase", "kind 1", shared, by_phrase, **phrase, cost="65536 3 4")
    good("passphrase-nfd", "the same passphrase typed in decomposed form", shared, by_phrase,
         passphrase="correct horse battery staple\u0301".encode(), cost="65536 3 4")
    good("key-file", "kind 2", ALPHA.parts(), ALPHA.slot, **key)
    both = ALPHA.parts(f.BOTH, "both", passphrase=b"\xff not UTF-8", label=b"")
    good("both", "kind 3, a passphrase of raw bytes, no label", both, f.slot(both, vmk, vault),
         passphrase=both.passphrase, **key, cost="65536 3 4")
    recovery = ALPHA.parts(f.RECOVERY, "recovery", recovery=noise("recovery", 32), label=b"x" * 64)
    by_code = f.slot(recovery, vmk, vault)
    good("recovery", "kind 4, the longest label", recovery, by_code, recovery=recovery.recovery)
    odd = ALPHA.parts(tag="odd label", label=b"\x1b[2J\n\0")
    good("label-control", "a label of control characters is legal", odd, f.slot(odd, vmk, vault), **key)

    plain = ALPHA.slot
    label_len = len(b"key file")
    commit_at = 100 + label_len
    slot_parse_cases(case, plain, by_phrase, label_len)
    slot_cost_cases(case, by_phrase, phrase)

    case("wrong-passphrase", "one letter differs", by_phrase, "wrong-key", passphrase=PASSPHRASE + b"e")
    case("wrong-key-file", "another key file", plain, "wrong-key", key_file=BETA.key_file)
    case("wrong-recovery", "one bit of the code", by_code, "wrong-key", recovery=flip(recovery.recovery, 31))
    case("kind-mismatch", "a recovery code offered to a key-file slot", plain, "kind-mismatch", recovery=bytes(32))
    case("kind-changed", "a key-file slot that claims to be a recovery slot; the code is the file's hash",
         put(plain, 10, b"\x04"), "wrong-key", recovery=f.sha256(ALPHA.key_file))
    case("label-changed", "one letter of the label", flip(plain, 100), "wrong-key", **key)
    case("id-changed", "another slot_id", flip(plain, 16), "wrong-key", **key)
    case("salt-changed", "one bit of the salt", flip(plain, 48), "wrong-key", **key)
    case("passes-changed", "4 passes instead of 3", put(by_phrase, 84, b"\x04"), "wrong-key", **phrase)
    case("foreign", "a slot of another vault", BETA.slot, "foreign-vault", key_file=BETA.key_file)
    case("foreign-relabelled", "the same, with this vault's id written over its own",
         put(BETA.slot, 32, ALPHA.keys.vault_id), "wrong-key", key_file=BETA.key_file)
    for log2 in (13, 16):
        case(f"vault-chunk-{log2}", "keepfs.vault with another chunk size", plain, "wrong-key",
             vault_file=put(vault, 10, bytes([log2])), **key)
    case("vault-swapped", "keepfs.vault of another vault", plain, "foreign-vault", vault_file=BETA.file, **key)
    case("vault-fingerprint", "keepfs.vault with another fingerprint", plain, "fingerprint-mismatch",
         vault_file=flip(vault, 32), **key)
    case("foreign-vmk", "wraps the key of another vault, correctly", f.slot(ALPHA.parts(), BETA.keys.vmk, vault),
         "fingerprint-mismatch", **key)
    other = ALPHA.parts(key_file=BETA.key_file)
    _, commit = f.slot_keys(other.ikm(), other.salt, other.before_commit(ALPHA.keys.vault_id), vault)
    case("commit-of-another-key", "commit of key B over a wrap by key A, opened with A",
         put(plain, commit_at, commit), "wrong-key", **key)
    case("commit-of-another-key-b", "the same, opened with B",
         put(plain, commit_at, commit), "wrap-damaged", key_file=BETA.key_file)
    case("commit-flipped", "one bit of commit", flip(plain, commit_at), "wrong-key", **key)
    case("nonce-flipped", "one bit of the nonce", flip(plain, commit_at + 32), "wrap-damaged", **key)
    case("wrap-flipped", "one bit of the wrapped key", flip(plain, commit_at + 56), "wrap-damaged", **key)
    case("tag-flipped", "one bit of the tag", flip(plain, -1), "wrap-damaged", **key)


def slot_parse_cases(case, plain: bytes, by_phrase: bytes, label_len: int) -> None:
    def bad(name, about, data, expect):
        case(name, about, data, expect)

    bad("empty", "no bytes", b"", "bad-length")
    bad("cut-in-lead", "10 bytes", plain[:10], "bad-length")
    bad("magic", "one bit of the magic", flip(plain, 3), "bad-magic")
    bad("version-0", "version 0", put(plain, 8, b"\0\0"), "unknown-version")
    bad("version-2", "a newer slot", put(plain, 8, b"\2\0"), "unknown-version")
    for kind in (0, 5, 255):
        bad(f"kind-{kind}", f"kind {kind} is not defined", put(plain, 10, bytes([kind])), "unknown-kind")
    bad("cut-short", "100 bytes", plain[:100], "bad-length")
    bad("cut", "the last byte is missing", plain[:-1], "bad-length")
    bad("extended", "one byte too many", plain + b"\0", "bad-length")
    bad("total-short", "total length one too small", put(plain, 12, struct.pack("<I", len(plain) - 1)), "bad-length")
    bad("total-huge", "total length 2^32 - 1", put(plain, 12, b"\xff" * 4), "bad-length")
    bad("label-past-end", "label length 64 in a file that holds 8", put(plain, 96, b"\x40\0"), "bad-length")
    bad("label-short", "label length 7, one byte unaccounted for",
        put(plain, 96, bytes([label_len - 1, 0])), "bad-length")
    parts = ALPHA.parts(tag="label 65", label=b"x" * 65)
    bad("label-65", "a label of 65 bytes", f.slot(parts, ALPHA.keys.vmk, ALPHA.file), "bad-label")
    parts = ALPHA.parts(tag="label latin1", label=b"K\xe4the")
    bad("label-latin1", "a label that is not UTF-8", f.slot(parts, ALPHA.keys.vmk, ALPHA.file), "bad-label")
    parts = ALPHA.parts(tag="extension", extension=b"room for a second key")
    bad("extension", "kind 2 has no extension", f.slot(parts, ALPHA.keys.vmk, ALPHA.file), "bad-length")
    bad("reserved-11", "byte 11", put(plain, 11, b"\1"), "reserved-not-zero")
    for at in (92, 95):
        bad(f"reserved-{at}", f"byte {at}", put(by_phrase, at, b"\1"), "reserved-not-zero")
    for at in (80, 84, 88):
        bad(f"cost-in-key-file-{at}", "a key-file slot with an Argon2 parameter", put(plain, at, b"\1"),
            "reserved-not-zero")


def slot_cost_cases(case, by_phrase: bytes, phrase: dict) -> None:
    def cost(memory, passes, lanes):
        return put(by_phrase, 80, struct.pack("<III", memory, passes, lanes))

    above = [
        ("memory", "1 KiB above 4 GiB", (4194305, 3, 4), 1 << 30),
        ("memory-max", "4 TiB", (0xFFFFFFFF, 3, 4), 1 << 30),
        ("memory-of-ram", "1 KiB above three quarters of 1 GiB", (786433, 3, 4), 1 << 20),
        ("passes", "21 passes", (65536, 21, 4), 1 << 24),
        ("passes-max", "2^32 - 1 passes", (65536, 0xFFFFFFFF, 4), 1 << 24),
        ("lanes", "17 lanes", (65536, 3, 17), 1 << 24),
    ]
    for name, about, numbers, ram in above:
        case(f"above-{name}", about, cost(*numbers), "cost-above-cap", **phrase, ram_kib=ram)
    below = [
        ("memory", "1 KiB below 64 MiB", (65535, 3, 4)),
        ("passes", "2 passes", (65536, 2, 4)),
        ("lanes", "no lanes", (65536, 3, 0)),
        ("all", "all zero, as in kinds without a passphrase", (0, 0, 0)),
    ]
    for name, about, numbers in below:
        case(f"below-{name}", about, cost(*numbers), "cost-below-floor", **phrase)


def header_cases(cases: Cases) -> None:
    file = ALPHA.keys.file(noise("file", 16))
    nonce = noise("header nonce", 24)
    seal, birth = noise("header seal", 16), noise("birth", 16)

    def case(name, about, data, expect="ok", **fields):
        fields.setdefault("file_id", file.file_id)
        cases.add(f"header/{name}", about, expect, keys="alpha", header=data, **fields)

    def good(name, about, flags, generation, size, holes):
        fields = f.sealed_fields(flags, generation, size, seal, birth, holes)
        case(
            name, about, f.header(file, nonce, fields),
            open="yes" if flags & f.OPEN else "no", sparse="yes" if flags & f.SPARSE else "no",
            generation=generation, size=size, seal=seal, birth_dir_id=birth, holes=holes,
        )

    good("sealed", "sealed and dense", 0, 2, 12345, 0)
    good("born", "a file that was just created", f.OPEN, 1, 0, 0)
    good("sparse", "sealed, three holes", f.SPARSE, 7, 1 << 20, 3)
    good("open-sparse", "both flags", f.OPEN | f.SPARSE, 8, 1 << 20, 3)
    good("large", "the largest size, generation and hole count with 4 KiB chunks",
         f.SPARSE, 2**64 - 1, GEOMETRY.max_plain_len(), GEOMETRY.max_plain_len() // C)
    fields = f.sealed_fields(0, 2, 12345, seal, birth, 0)
    whole = f.header(file, nonce, fields)
    case("magic", "one bit of the magic", flip(whole, 3), "bad-magic")
    case("zeros", "a header of zero bytes", bytes(128), "bad-magic")
    for at in range(4, 8):
        case(f"reserved-{at}", f"byte {at} is not zero", put(whole, at, b"\1"), "reserved-not-zero")
    case("reserved-authentic", "byte 4 is not zero, and the tag covers it",
         f.header(file, nonce, fields, b"KPF1\1\0\0\0"), "reserved-not-zero")
    for name, at in (("nonce", 24), ("fields", 48), ("size", 64), ("tag", 112), ("tag-end", 127)):
        case(f"flipped-{name}", f"one bit of byte {at}", flip(whole, at), "not-authentic")
    case("flipped-file-id", "one bit of the file_id; opened under the id it now claims",
         flip(whole, 8), "not-authentic", file_id=flip(file.file_id, 0))
    case("wrong-file", "keys of another file", whole, "wrong-file", file_id=noise("other file", 16))
    other = BETA.keys.file(file.file_id)
    case("other-vault", "a header of another vault", f.header(other, nonce, fields), "not-authentic")
    as_chunk = whole[:24] + nonce + f.xchacha_seal(file.fk, nonce, fields, b"\x01" + bytes(8))
    case("chunk-as-header", "fields sealed as if they were a chunk", as_chunk, "not-authentic")
    for bit in range(2, 8):
        bent = put(fields, 0, bytes([1 << bit]))
        case(f"flag-{bit}", f"flag bit {bit} is not defined", f.header(file, nonce, bent), "unknown-flags")
    bent = f.sealed_fields(0, 2, 2**63, seal, birth, 0)
    case("size", "a size beyond the largest file", f.header(file, nonce, bent), "impossible-size")
    case("cut", "127 bytes", whole[:127], "too-short")
    case("empty", "no bytes", b"", "too-short")
    for at in range(1, 8):
        bent = put(fields, at, b"\1")
        case(f"sealed-reserved-{at}", f"sealed byte {at} is not zero", f.header(file, nonce, bent),
             "reserved-not-zero")


def slots_of(file: f.FileKeys, plain: bytes, label: str, first: int = 0, last: bool = True) -> "list[bytes]":
    """The slots of a plaintext; with `last`, ended by the short one."""
    count = len(plain) // C + (1 if last else 0)
    return [
        f.chunk_slot(file, first + i, noise(f"{label} nonce {first + i}", 24), plain[i * C : (i + 1) * C])
        for i in range(count)
    ]


def slots_cases(cases: Cases) -> None:
    file = ALPHA.keys.file(noise("file", 16))

    def case(name, about, slots, expect="ok", first=0, tail="last", holes="refused", **fields):
        cases.add(
            f"slots/{name}", about, expect, keys="alpha", file_id=file.file_id, chunk_log2=CHUNK_LOG2,
            first=first, tail=tail, holes=holes, cipher=b"".join(slots), **fields,
        )

    def good(name, about, slots, plain, **how):
        seal, count = f.seal_sum(file, GEOMETRY, how.get("first", 0), b"".join(slots))
        case(name, about, slots, **how, seal=seal, hole_count=count, plain_len=len(plain), plain_sha256=f.sha256(plain))

    for length in (0, 1, C - 1, C, C + 1):
        plain = noise(f"plain {length}", length)
        good(f"length-{length}", "a file from its first slot to its last", slots_of(file, plain, "s"), plain)
    plain = noise("far", C)
    good("far", "a chunk with a large number, not the last", slots_of(file, plain, "s", 2**40, False), plain,
         first=2**40, tail="inside")
    good("far-last", "an empty last slot with a large number", slots_of(file, b"", "s", 2**40), b"", first=2**40)
    a, b = slots_of(file, noise("two", 2 * C), "s")[:2]
    end = f.chunk_slot(file, 2, noise("end", 24), b"end")
    hole = bytes(S)
    good("hole", "a hole between two slots of a sparse file", [a, hole, end], noise("two", C) + bytes(C) + b"end",
         holes="allowed")
    good("holes-only", "nothing but holes and a last slot",
         [hole, f.chunk_slot(file, 1, noise("e1", 24), b"")], bytes(C), holes="allowed")
    slots_bad_cases(case, file, a, b, end)


def slots_bad_cases(case, file: f.FileKeys, a: bytes, b: bytes, end: bytes) -> None:
    def bad(name, about, slots, chunk, expect="not-authentic", **how):
        case(name, about, slots, expect, **how, chunk=chunk)

    bad("hole-in-dense", "a zeroed slot in a dense file", [a, bytes(S), end], 1, "unexpected-hole")
    bad("nearly-hole", "a slot of zeros but for its last bit, holes allowed", [a, flip(bytes(S), -1), end], 1,
        holes="allowed")
    bad("last-zeroed", "the last slot is never a hole", [a, b, bytes(len(end))], 2, holes="allowed")
    bad("last-zeroed-empty", "an empty last slot of zeros", [a, b, bytes(40)], 2, holes="allowed")
    bad("exchanged", "two slots exchanged", [b, a, end], 0)
    bad("repeated", "one slot twice", [a, a, end], 1)
    other = ALPHA.keys.file(noise("other file", 16))
    bad("other-file", "a slot of another file, same number", [a, slots_of(other, bytes(2 * C), "o")[1], end], 1)
    copy = BETA.keys.file(file.file_id)
    bad("other-vault", "a slot of another vault, same file_id", [a, slots_of(copy, bytes(2 * C), "v")[1], end], 1)
    bad("number-off", "slots read under the wrong number", [a, b, end], 1, first=1)
    for name, at in (("nonce", 0), ("text", 24), ("text-end", S - 17), ("tag", S - 1)):
        bad(f"flipped-{name}", f"one bit of byte {at} of slot 1", [a, flip(b, at), end], 1)
    bad("flipped-last", "one bit of the last slot", [a, b, flip(end, 25)], 2)
    bad("two-damaged", "two damaged slots: the lower one is named", [a, flip(b, 30), flip(end, -1)], 1)
    bad("last-cut", "one byte of the last slot is missing", [a, b, end[:-1]], 2)
    bad("last-extended", "one byte more behind the last slot", [a, b, end + b"\0"], 2)
    bad("last-missing", "the run ends where its last slot should begin", [a, b], 2, "wrong-length")
    bad("last-39", "39 bytes of a last slot", [a, b, end[:39]], 2, "wrong-length")
    bad("inside-rest", "one byte behind the full slots", [a, b, b"\0"], 2, "wrong-length", tail="inside")
    as_header = noise("h", 24)
    sealed = as_header + f.xchacha_seal(file.fk, as_header, bytes(64), b"\x00" + bytes(24))
    bad("header-as-chunk", "a header's ciphertext in place of a chunk", [a, b, sealed], 2)


def file_cases(cases: Cases) -> None:
    file, birth = ALPHA.keys.file(noise("file", 16)), ALPHA.root

    def whole(slots, size, flags=0, seal=None, holes=None, of=file):
        total, count = f.seal_sum(of, GEOMETRY, 0, b"".join(slots))
        fields = f.sealed_fields(
            flags, 2, size, total if seal is None else seal, birth, count if holes is None else holes
        )
        return f.header(of, noise("file header", 24), fields) + b"".join(slots)

    def case(name, about, data, expect="ok", **fields):
        cases.add(f"file/{name}", about, expect, keys="alpha", chunk_log2=CHUNK_LOG2, file=data, **fields)

    def served(name, about, data, plain, expect="ok"):
        case(name, about, data, expect, plain_len=len(plain), plain_sha256=f.sha256(plain))

    text = b"Twelve bytes"
    served("small", "12 bytes", whole(slots_of(file, text, "f"), 12), text)
    served("empty", "168 bytes that hold none", whole(slots_of(file, b"", "f"), 0), b"")
    served("born", "as create writes it", whole(slots_of(file, b"", "f"), 0, f.OPEN, bytes(16)), b"", "unsealed")
    plain = noise("file", C)
    slots = slots_of(file, plain, "f")
    served("one-chunk", "exactly one chunk, so two slots", whole(slots, C), plain)
    served("left-open", "a crash left OPEN set; seal and size are stale", whole(slots, 7, f.OPEN, bytes(16)), plain,
           "unsealed")
    served("appended", "longer than its sealed header says", whole(slots, 12, 0, bytes(16)), plain, "unsealed")
    sparse = [bytes(S), f.chunk_slot(file, 1, noise("f nonce 1", 24), b"tail")]
    served("sparse", "a hole and a tail", whole(sparse, C + 4, f.SPARSE), bytes(C) + b"tail")
    file_bad_cases(case, file, whole, slots, plain)


def file_bad_cases(case, file: f.FileKeys, whole, slots: "list[bytes]", plain: bytes) -> None:
    good = whole(slots, C)
    case("zero-bytes", "an interrupted create", b"", "too-short")
    case("header-only", "128 bytes", good[:128], "too-short")
    case("cut-167", "167 bytes", good[:167], "too-short")
    case("cut-at-slot", "cut where the last slot begins", good[: 128 + S], "cut")
    case("cut-in-slot", "cut in the middle of slot 0, a legal length", good[: 128 + 2000], "cut")
    old = slots_of(file, plain[:100], "f old")
    case("cut-to-old-end", "cut, and ended by an older last slot that is authentic", good[:128] + old[0], "cut")
    case("header-flipped", "one bit of the header", flip(good, 60), "header-not-authentic")
    case("header-of-other", "header of another file of the vault",
         whole(slots, C, of=ALPHA.keys.file(noise("other file", 16)))[:128] + good[128:],
         "chunk-not-authentic", chunk=0)
    case("slot-flipped", "one bit of slot 0", flip(good, 128 + 24), "chunk-not-authentic", chunk=0)
    case("slot-zeroed", "slot 0 of a dense file zeroed", put(good, 128, bytes(S)), "unexpected-hole", chunk=0)
    before = slots_of(file, noise("file before", C), "f before")
    case("slot-older", "an older version of slot 0 put back", put(good, 128, before[0]), "seal-mismatch")
    case("last-older", "an older last slot put back", good[: 128 + S] + before[1], "seal-mismatch")
    three = slots_of(file, noise("file three", 2 * C), "f three")
    with_hole = [three[0], bytes(S), f.chunk_slot(file, 2, noise("f three nonce 2", 24), b"")]
    case("sparse-zeroed", "a slot of a sparse file zeroed", put(whole(with_hole, 2 * C, f.SPARSE), 128, bytes(S)),
         "seal-mismatch")
    case("hole-count", "the seal is right, the number of holes is not",
         whole(with_hole, 2 * C, f.SPARSE, holes=2), "hole-count-mismatch")
    case("trailing", "one byte behind the last slot: taken for an append", good + b"\0",
         "chunk-not-authentic", chunk=1)


def geometry_cases(cases: Cases) -> None:
    for log2 in range(12, 21):
        g = f.Geometry(log2)
        chunk, slot, top = g.chunk, g.slot, g.max_plain_len()
        lengths = sorted({0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk - 1, 2 * chunk, 10 * chunk + 7, 1 << 40, top - 1, top})
        illegal = [0, 1, 127, 128, 167]
        for q in (1, 2, 1000):
            illegal += [128 + q * slot, 128 + q * slot + 1, 128 + q * slot + 39]
        cases.add(
            f"geometry/chunk-{log2}", "`map` is n and st_size; `illegal` is an st_size and what stat reports for it",
            chunk_log2=log2,
            map=[f"{n} {g.cipher_len(n)}" for n in lengths],
            illegal=[f"{s} {g.longest_legal_prefix(s)}" for s in illegal],
            max_plain_len=top,
        )
        for s in illegal:
            if g.plain_len(s) is not None:
                raise AssertionError(f"{s} is a legal length")


def name_cases(cases: Cases) -> None:
    keys, here, there = ALPHA.keys, ALPHA.root, noise("another directory", 16)

    def case(name, about, entry, expect="ok", dir_id=here, side=None, **fields):
        if side is not None:
            fields["side"] = side
        cases.add(f"name/{name}", about, expect, keys="alpha", dir_id=dir_id, entry=entry, **fields)

    def good(name, about, plain, dir_id=here):
        entry, side = f.cipher_name(keys, dir_id, plain)
        case(name, about, entry, dir_id=dir_id, side=side or None, plain=plain)

    for length in (1, 15, 16, 31, 32, 47, 48, 63, 64, 79, 80, 95, 96, 111, 112, 127, 128, 143, 144, 254, 255):
        plain = noise(f"name {length}", 2 * length).hex().encode()[:length]
        good(f"length-{length:03}", f"{length} bytes", plain)
    good("text", "an everyday name", b"notes.txt")
    good("other-directory", "the same name elsewhere", b"notes.txt", there)
    good("utf8", "UTF-8", "Käthe Ångström 東京.txt".encode())
    good("raw", "bytes that are not UTF-8", bytes(range(1, 0x2F)) + bytes(range(0x80, 0x90)))
    good("padding-like", "a name that ends like padding", b"name\x80")
    good("three-dots", "not reserved", b"...")
    good("keepfs", "a plain name may be anything", b"keepfs.vault")
    good("newline", "a line feed", b"\n")
    name_bad_short(case, keys, here, there)
    name_bad_long(case, keys, here, there)


def name_bad_short(case, keys: f.Keys, here: bytes, there: bytes) -> None:
    def bad(name, about, entry, expect, **how):
        case(name, about, entry, expect, **how)

    def sealed(padded):
        return f.b64(f.siv_seal(keys["names"], here, padded))

    entry, _ = f.cipher_name(keys, here, b"notes.txt")
    bad("moved", "an entry carried into another directory", entry, "not-authentic", dir_id=there)
    bad("other-vault", "a name of another vault", f.cipher_name(BETA.keys, here, b"notes.txt")[0], "not-authentic")
    changed = ("B" if entry[0] == "A" else "A") + entry[1:]
    bad("first-letter", "its first letter changed", changed, "not-authentic")
    bad("invented", "43 letters that the provider made up", f.b64(noise("invented", 32)), "not-authentic")
    bad("pin-as-name", "a pin record written as a name",
        f.b64(f.pin_record(keys, here, there)), "not-authentic")
    twin = f.loose_b64(f.name_siv(keys, here, b"notes.txt"))
    bad("not-canonical", "the unused bits of the last character are not zero", twin, "not-a-name")
    bad("padded-text", "base64 padding at the end", entry + "=", "not-a-name")
    bad("standard-alphabet", "+ instead of -", "+" + entry[1:], "not-a-name")
    bad("length-42", "one character is missing", entry[:-1], "not-a-name")
    bad("length-44", "one character too many", entry + "A", "not-a-name")
    bad("length-22", "16 bytes, a bare synthetic IV", f.b64(noise("bare", 16)), "not-a-name")
    bad("length-214", "160 bytes, which the long form must hold", f.b64(f.name_siv(keys, here, b"n" * 128)),
        "not-a-name")
    bad("no-padding", "the padding is missing", sealed(b"sixteen letters!"), "bad-padding")
    bad("all-zero", "zeros only", sealed(bytes(16)), "bad-padding")
    bad("wrong-marker", "0x01 instead of 0x80", sealed(b"notes.txt\x01" + bytes(6)), "bad-padding")
    bad("block-too-many", "16 zero bytes more than needed", sealed(f.pad16(b"notes.txt") + bytes(16)), "bad-padding")
    for name, plain in (("empty", b""), ("dot", b"."), ("dot-dot", b".."), ("slash", b"a/b"), ("nul", b"a\0b")):
        bad(f"plain-{name}", "authentic, but no valid name", sealed(f.pad16(plain)), "bad-name")


def name_bad_long(case, keys: f.Keys, here: bytes, there: bytes) -> None:
    plain = b"long " * 30
    entry, side = f.cipher_name(keys, here, plain)

    def bad(name, about, expect, entry=entry, side=side, **how):
        case(f"long-{name}", about, entry, expect, side=side, **how)

    def made(padded):
        siv = f.siv_seal(keys["names"], here, padded)
        return {"entry": f.long_entry(siv), "side": siv}

    bad("moved", "carried into another directory, side file too", "not-authentic", dir_id=there)
    bad("other-side", "the side file of another name", "side-mismatch", side=f.name_siv(keys, here, b"other" * 30))
    bad("side-flipped", "one bit of the side file", "side-mismatch", side=flip(side, 40))
    both = flip(side, 40)
    bad("both-flipped", "one bit of the side file, and the entry made to match", "not-authentic",
        entry=f.long_entry(both), side=both)
    bad("side-cut", "the side file lost a byte", "side-mismatch", side=side[:-1])
    bad("side-extended", "the side file has a byte more", "side-mismatch", side=side + b"\0")
    bad("side-empty", "the side file was emptied", "side-mismatch", side=b"")
    short = bytes(15)
    bad("side-tiny", "a side file of 15 bytes, and the entry made to match", "not-authentic",
        entry=f.long_entry(short), side=short)
    bad("short-name", "a name of 127 bytes in long form", "bad-name", **made(f.pad16(b"n" * 127)))
    bad("short-name-padded", "a name of 100 bytes, padded to the size of a long one", "bad-padding",
        **made(f.pad16(b"n" * 100) + bytes(32)))
    bad("too-long", "a name of 256 bytes", "bad-name", **made(f.pad16(b"n" * 256)))
    bad("slash", "a slash in a long name", "bad-name", **made(f.pad16(b"n" * 100 + b"/" + b"n" * 50)))
    bad("no-padding", "the padding is missing", "bad-padding", **made(b"n" * 144))


def directory_cases(cases: Cases) -> None:
    keys, root = ALPHA.keys, ALPHA.root
    parent = root
    for depth, name in enumerate((b"Documents", b"2024", b"n" * 255, b"\xff", b"keepfs.dir")):
        at = f.place(keys, parent, name)
        cases.add(f"place/depth-{depth + 1}", "the id of a directory below the one before, which is not pinned",
                  keys="alpha", parent=parent, name=name, place=at)
        parent = at
    cases.add("place/other-vault", "the same name in the root of another vault",
              keys="beta", parent=BETA.root, name=b"Documents", place=f.place(BETA.keys, BETA.root, b"Documents"))

    born, now = f.place(keys, root, b"a"), f.place(keys, root, b"b")
    later, nowhere = f.place(keys, root, b"c"), f.place(keys, root, b"d")
    first, second = f.pin_record(keys, now, born), f.pin_record(keys, later, born)

    def case(name, about, at, data, expect="ok", **fields):
        cases.add(f"pin/{name}", about, expect, keys="alpha", place=at, pin=data, **fields)

    case("one", "one record", now, first, dir_id=born, record=0)
    case("two-first", "two records, at the first place", now, first + second, dir_id=born, record=0)
    case("two-second", "two records, at the second place", later, first + second, dir_id=born, record=1)
    case("two-nowhere", "two records, at neither place", nowhere, first + second, "none")
    case("birthplace", "at the place where it was born no record is needed", born, first + second, "none")
    case("two-ids", "two records for one place, with different ids", now,
         first + f.pin_record(keys, now, later), "ambiguous")
    case("repeated", "one record twice", now, first + first, "ambiguous")
    case("repeated-elsewhere", "one record twice, at another place", later, first + first, "none")
    case("first-damaged", "the first record is damaged, the second opens", later, flip(first, 3) + second,
         dir_id=born, record=1)
    case("damaged", "one bit", now, flip(first, 31), "none")
    case("zeros", "32 zero bytes, as a power cut leaves them", now, bytes(32), "none")
    case("name-as-pin", "a cipher name written as a record", now, f.name_siv(keys, now, b"x"), "none")
    case("other-vault", "a record of another vault", now, f.pin_record(BETA.keys, now, born), "none")
    for length in (0, 1, 31, 33, 63, 65, 96):
        data = (first + second + first)[:length]
        case(f"length-{length:02}", f"{length} bytes", now, data, "bad-length")


def link_cases(cases: Cases) -> None:
    keys, nonce = ALPHA.keys, noise("link nonce", 24)

    def case(name, about, text, expect="ok", **fields):
        if isinstance(text, str):
            text = text.encode()
        cases.add(f"link/{name}", about, expect, keys="alpha", text=text, **fields)

    for length in (1, 2, 3, 17, 727, 3031):
        target = noise(f"target {length}", length).replace(b"\0", b"/")
        case(f"length-{length}", f"{length} bytes", f.link_text(keys, nonce, target), target=target)
    text = f.link_text(keys, nonce, b"../there")
    sealed = nonce + f.xchacha_seal(keys["links"], nonce, b"../there", f.LINK_AD)
    case("relative", "an everyday target", text, target=b"../there")
    case("plain", "a link that was never encrypted", "/etc/passwd", "bad-text")
    case("empty", "no characters", "", "too-short")
    case("bare", "40 bytes: a nonce, a tag, no target", f.link_text(keys, nonce, b""), "not-a-path")
    case("cut", "39 bytes", f.b64(noise("cut", 39)), "too-short")
    case("nul", "a NUL byte", f.link_text(keys, nonce, b"a\0b"), "not-a-path")
    case("cut-byte", "the last byte of the tag is missing", f.b64(sealed[:-1]), "not-authentic")
    case("not-canonical", "unused bits of the last character set", f.loose_b64(sealed[:-1]), "bad-text")
    case("padded", "base64 padding", text + "=", "bad-text")
    case("newline", "a line feed at the end", text + "\n", "bad-text")
    case("flipped", "its first letter changed", ("B" if text[0] == "A" else "A") + text[1:], "not-authentic")
    case("other-vault", "a link of another vault", f.link_text(BETA.keys, nonce, b"../there"), "not-authentic")
    bare = f.b64(nonce + f.xchacha_seal(keys["links"], nonce, b"../there", b""))
    case("no-ad", "sealed without associated data", bare, "not-authentic")


def xattr_cases(cases: Cases) -> None:
    keys, file_id, dir_id = ALPHA.keys, noise("file", 16), ALPHA.root
    owners = {"file": file_id, "dir": dir_id}

    def names(case, about, raw, expect="ok", owner="file", owner_id=None, **fields):
        raw = raw.encode() if isinstance(raw, str) else raw
        cases.add(f"xattr-name/{case}", about, expect, keys="alpha", owner=owner,
                  id=owner_id or owners[owner], raw=raw, **fields)

    def values(case, about, raw, expect="ok", owner="file", owner_id=None, attr=b"comment", **fields):
        cases.add(f"xattr-value/{case}", about, expect, keys="alpha", owner=owner,
                  id=owner_id or owners[owner], name=attr, raw=raw, **fields)

    for length in (1, 15, 16, 159):
        attr = (b"xdg.origin.url" * 12)[:length]
        for owner, owner_id in owners.items():
            names(f"{owner}-{length}", f"a name of {length} bytes", f.xattr_name(keys, owner_id, attr), owner=owner,
                  name=attr)
    good = f.xattr_name(keys, file_id, b"comment")
    names("other-file", "copied from another file", good, "not-authentic", owner_id=noise("other file", 16))
    names("prefix", "not written by keepfs", "user.comment", "foreign")
    names("other-namespace", "not in user.", "trusted.keepfs." + good[12:], "foreign")
    names("bare-prefix", "nothing behind the prefix", "user.keepfs.", "not-authentic")
    names("padded", "base64 padding", good + "=", "bad-text")
    siv = f.siv_seal(keys["xattr-names"], file_id, f.pad16(b"comment"))
    names("not-canonical", "unused bits of the last character set", "user.keepfs." + f.loose_b64(siv), "bad-text")
    names("cut", "one byte less", "user.keepfs." + f.b64(siv[:-1]), "not-authentic")
    names("flipped", "one letter changed", good[:12] + ("B" if good[12] == "A" else "A") + good[13:], "not-authentic")
    names("file-name", "a file's cipher name", "user.keepfs." + f.cipher_name(keys, dir_id, b"comment")[0],
          "not-authentic", owner="dir")
    bent = "user.keepfs." + f.b64(f.siv_seal(keys["xattr-names"], file_id, b"comment\x01" + bytes(8)))
    names("bad-padding", "0x01 instead of 0x80", bent, "bad-padding")
    names("empty", "authentic, but empty", f.xattr_name(keys, file_id, b""), "bad-name")
    names("nul", "authentic, with a NUL byte", f.xattr_name(keys, file_id, b"a\0b"), "bad-name")
    names("too-long", "authentic, 160 bytes, which no writer would fit", f.xattr_name(keys, file_id, b"a" * 160),
          "bad-name")

    nonce = noise("xattr nonce", 24)
    for length in (0, 1, 4096):
        value = noise(f"value {length}", length)
        for owner, owner_id in owners.items():
            values(f"{owner}-{length}", f"{length} bytes",
                   f.xattr_value(keys, owner_id, b"comment", nonce, value), owner=owner, value=value)
    raw = f.xattr_value(keys, file_id, b"comment", nonce, b"hello")
    values("other-name", "moved to another attribute", raw, "not-authentic", attr=b"author")
    values("with-prefix", "the name in the AD has no user. prefix",
           f.xattr_value(keys, file_id, b"user.comment", nonce, b"hello"), "not-authentic")
    values("other-file", "copied from another file", raw, "not-authentic", owner_id=noise("other file", 16))
    values("other-vault", "of another vault", f.xattr_value(BETA.keys, file_id, b"comment", nonce, b"hello"),
           "not-authentic")
    values("flipped", "one bit", flip(raw, 24), "not-authentic")
    values("cut", "one byte less", raw[:-1], "not-authentic")
    values("short", "39 bytes", raw[:39], "too-short")
    values("none", "no bytes", b"", "too-short")


def entry_cases(cases: Cases) -> None:
    keys, here = ALPHA.keys, ALPHA.root
    short = {n: f.cipher_name(keys, here, b"n" * n)[0] for n in (9, 20, 40, 127)}
    long, _ = f.cipher_name(keys, here, b"l" * 200)
    ct = short[9]

    def case(name, raw, what, bases=(), about="classified without a key"):
        raw = raw.encode() if isinstance(raw, str) else raw
        cases.add(f"entry/{name}", about, raw=raw, **{"class": what},
                  base=[f"{form} {length}" for form, length in bases])

    only = [("short", 43)]
    for length, entry in short.items():
        bases = [("short", n) for n in (171, 150, 128, 107, 86, 64, 43) if n < len(entry) and f.is_b64(entry[:n])]
        case(f"short-{len(entry)}", entry, "short", bases, "a short entry; `base` is what is tried if it fails")
    case("long", long, "long")
    case("side", long + "=", "side-file")
    case("side-copy", long + "= (conflicted copy 2024-05-01 100203)", "internal")
    case("long-copy", long + " (1)", "other", [("long", 44)])
    for name, suffix in {
        "syncthing": ".sync-conflict-20240501-100203-ABCDEFG",
        "nextcloud": " (conflicted copy 2024-05-01 100203)",
        "dropbox": " (laptop's conflicted copy 2024-05-01)",
        "rclone": ".conflict1",
        "google": " (1)",
        "unknown": "?",
        "not-utf8": b"\xff",
    }.items():
        suffix = suffix if isinstance(suffix, bytes) else suffix.encode()
        case(f"copy-{name}", ct.encode() + suffix, "other", only)
    onedrive = ct + "-home-safeBackup-0001"
    case("copy-that-looks-short", onedrive, "short", only, "a suffix that leads from 43 characters to 64")
    case("copy-longest-first", short[40] + ".conflict2", "other",
         [("short", n) for n in (86, 64, 43) if f.is_b64(short[40][:n])])
    looks = "keepfs" + f.b64(noise("lucky", 32))[6:]
    case("short-keepfs", looks, "short", about="a short entry that begins with keepfs by chance")
    for name in ("keepfs.vault", "keepfs.slots", "keepfs.dir", "keepfs.rm-00112233", "keepfs", "keepfs (1).dir",
                 "keepfs.sync-conflict-20240501-100203-ABCDEFG.vault", "keepfs_conflict-20240501-100203.dir",
                 "~keepfs-00112233445566778899aabbccddeeff.tmp", "keepfsX"):
        case("internal-" + "".join(c if c.isalnum() else "-" for c in name), name, "internal")
    for name, raw in {
        "nfs": ".nfs000000000123", "fuse-hidden": ".fuse_hidden0001", "syncthing": f".syncthing.{ct}.tmp",
        "syncthing-windows": f"~syncthing~{ct}.tmp", "nextcloud": f".{ct}.~1a2b3c", "rclone": f"{ct}.1a2b3c4d.partial",
        "onedrive": f"{ct}.partial", "stfolder": ".stfolder", "stversions": ".stversions", "stignore": ".stignore",
        "sync-db": ".sync_0123456789ab.db-wal", "sync-db-windows": "._sync_0123456789ab.db",
        "csync": ".csync_journal.db", "owncloud-log": ".owncloudsync.log.1", "dropbox": ".dropbox",
        "dropbox-cache": ".dropbox.cache", "dropbox-attr": ".dropbox.attr",
    }.items():
        bases = only if raw.startswith(ct) else []
        case(f"temporary-{name}", raw, "temporary", bases)
    for name, raw in {"text": "README.txt", "one-letter": "a", "dot": ".DS_Store", "equals": "=", "long-cut": long[:-1],
                      "capital": "Keepfs.vault", "length-42": ct[:-1], "raw": bytes(range(1, 47)), "dropbox-like": ".dropboxes",
                      "nextcloud-like": ".name.~", "nextcloud-not-hex": ".name.~xyz",
                      "syncthing-like": ".syncthing.name"}.items():
        case(f"foreign-{name}", raw, "other")
    hashed = f.sha256(f.name_siv(keys, here, b"l" * 200))
    case("long-not-canonical", "=" + f.loose_b64(hashed), "other")


def all_cases() -> "dict[str, str]":
    cases = Cases()
    for make in (key_cases, vault_cases, slot_cases, header_cases, slots_cases, file_cases, geometry_cases,
                 name_cases, directory_cases, link_cases, xattr_cases, entry_cases):
        make(cases)
    return cases.texts
