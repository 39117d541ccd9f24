"""Vectors of the key tree, of keepfs.vault and of slots; FORMAT.md sections 3 to 5."""

import struct

import keepfs_format as f
from vector_base import ALPHA, BETA, PASSPHRASE, Cases, flip, noise, put


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
        case(f"vault-chunk-{log2}", "keepfs.vault with another chunk size", plain, "vault-file-changed",
             vault_file=put(vault, 10, bytes([log2])), **key)
    case("vault-chunk-wrong-key", "the same, and another key file: only the right one learns of it", plain, "wrong-key",
         vault_file=put(vault, 10, b"\x0d"), key_file=BETA.key_file)
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
