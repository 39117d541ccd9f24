"""Vectors of regular files; FORMAT.md section 6."""

import keepfs_format as f
from vector_base import ALPHA, BETA, C, CHUNK_LOG2, GEOMETRY, S, Cases, flip, noise, put


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
    served("appended", "longer than its sealed header says, and the last slot of that length has been replaced",
           whole(slots, 12, 0, bytes(16)), plain, "unsealed")
    served("growing", "slots behind its sealed end, which is whole: they are void",
           whole(slots_of(file, text, "f"), 12).ljust(128 + S, b"\0") + slots[1], text, "unsealed")
    served("trailing", "one byte behind the last slot", whole(slots, C) + b"\0", plain, "unsealed")
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
    torn = whole(three[:2] + [noise("torn", 10)], 0, f.OPEN, bytes(16), 0)
    case("torn", "an append that stopped 10 bytes into slot 2: an illegal length, read as its longest legal prefix",
         torn, "chunk-not-authentic", chunk=1)


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
