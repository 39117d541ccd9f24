"""Vectors of journals; FORMAT.md section 15."""

import struct

import keepfs_format as f
from vector_base import ALPHA, BETA, Cases, flip, noise, put

MACHINE = b"0123456789abcdef0123456789abcdef\n"


def journal_cases(cases: Cases) -> None:
    journal_id, nonce = noise("journal id", 16), noise("journal nonce", 24)
    host = f.host_tag(ALPHA.keys, MACHINE)

    def case(name, about, head, expect="ok"):
        cases.add(f"journal/{name}", about, expect, keys="alpha", head=head, machine=MACHINE)

    whole = f.journal_head(ALPHA.keys, journal_id, nonce, host)
    case("head", "the head of a journal of the machine named", whole)
    case("longer", "frames follow the head", whole + noise("frames", 50))
    case("cut", "127 bytes", whole[:127], "not-a-journal")
    case("empty", "no bytes", b"", "not-a-journal")
    case("magic", "one bit of the magic", flip(whole, 2), "not-a-journal")
    case("reserved", "byte 4 is not zero", put(whole, 4, b"\1"), "not-a-journal")
    for name, at in (("id", 8), ("nonce", 24), ("host", 48), ("tag", 127)):
        case(f"flipped-{name}", f"one bit of byte {at}", flip(whole, at), "not-authentic")
    case("other-vault", "a journal of another vault",
         f.journal_head(BETA.keys, journal_id, nonce, f.host_tag(BETA.keys, MACHINE)), "not-authentic")
    for at in (16, 63):
        bent = put(host + bytes(48), at, b"\1")
        case(f"newer-{at}", f"sealed byte {at} is not zero", f.journal_head(ALPHA.keys, journal_id, nonce, bent), "newer")


def frame_cases(cases: Cases) -> None:
    keys, journal_id = ALPHA.keys, noise("journal id", 16)
    head = f.journal_head(keys, journal_id, noise("journal nonce", 24), f.host_tag(keys, MACHINE))
    file_id, seal, birth = noise("file", 16), noise("header seal", 16), noise("birth", 16)
    old, new = noise("old tag", 16), noise("new tag", 16)

    def case(name, about, frame, expect="ok", **fields):
        cases.add(f"frame/{name}", about, expect, keys="alpha", head=head, frame=frame, **fields)

    def good(name, about, plain, data=b"", sequence=7, **fields):
        frame = f.journal_frame(keys, journal_id, sequence, noise(f"frame {name}", 24), plain, data)
        case(name, about, frame, sequence=sequence, data_len=len(data), **fields)
        return frame

    def header(generation, size, flags=0, holes=0):
        return f.sealed_fields(flags, generation, size, seal, birth, holes)

    def stated(generation, size, open_="no", sparse="no", holes=0):
        return {"file_id": file_id, "generation": generation, "size": size, "open": open_, "sparse": sparse,
                "seal": seal, "birth_dir_id": birth, "holes": holes}

    place = b"first-entry/second-entry"
    file_record = f.file_record(3, file_id, 0x1122334455, header(4, 9000), place)
    good("file", "which file it is", file_record, record="file", nr=3, ino=0x1122334455, place=place, **stated(4, 9000))
    good("file-without-place", "its place is not known", f.file_record(3, file_id, 1, header(4, 9000), b""),
         record="file", nr=3, ino=1, place=b"", **stated(4, 9000))
    slots = noise("slots", 4136 + 48)
    replaced = [(1, 5, old, slots[4120:4136]), (2, 6, bytes(16), new), (3, 2**40, old, bytes(16)), (1, 2**40 + 1, bytes(16), slots[-16:])]
    lines = [f"{how} {chunk} {a.hex()} {b.hex()}" for how, chunk, a, b in replaced]
    change = f.change_record(3, file_id, header(5, 9001, f.SPARSE, 2), replaced)
    frame = good("change", "two slots that follow, one in place, and a hole", change, slots, sequence=2**63,
                 record="change", nr=3, replaced=lines, **stated(5, 9001, sparse="yes", holes=2))
    good("change-of-nothing", "the length alone", f.change_record(9, file_id, header(6, 0, f.OPEN), []), sequence=0,
         record="change", nr=9, **stated(6, 0, "yes"))
    good("done", "everything is in place", f.done_record(2**64 - 1), sequence=8, record="done", nr=2**64 - 1)

    for name, at in (("length", 0), ("data", 4), ("sequence", 8), ("nonce", 16), ("record", 40), ("tag", len(frame) - len(slots) - 1)):
        case(f"flipped-{name}", f"one bit of byte {at}", flip(frame, at), "not-a-frame")
    case("cut", "a byte short of its record", frame[: len(frame) - len(slots) - 1], "not-a-frame")
    other = f.journal_frame(keys, noise("another journal", 16), 8, noise("frame other", 24), f.done_record(1), b"")
    case("other-journal", "a frame of another journal of the vault", other, "not-a-frame")
    foreign = f.journal_frame(BETA.keys, journal_id, 8, noise("frame foreign", 24), f.done_record(1), b"")
    case("other-vault", "a frame of another vault's journal", foreign, "not-a-frame")

    def bent(name, about, record):
        case(name, about, f.journal_frame(keys, journal_id, 8, noise(f"frame {name}", 24), record, b""), "not-a-frame")

    done = f.done_record(1)
    bent("kind-0", "no kind of record", put(done, 0, b"\0"))
    bent("kind-4", "no kind of record yet", put(done, 0, b"\4"))
    bent("reserved", "byte 7 of the record is not zero", put(done, 7, b"\1"))
    bent("done-longer", "a byte behind a done record", done + b"\0")
    bent("file-cut", "a byte short", f.file_record(3, file_id, 1, header(4, 9000), b"")[:-1])
    bent("change-cut", "a byte short", change[:-1])
    bent("how-0", "no way to replace a slot", put(change, 96, b"\0"))
    bent("how-4", "no way to replace a slot yet", put(change, 96, b"\4"))
    bent("hole-with-tag", "a hole that has a tag", f.change_record(3, file_id, header(5, 9001), [(3, 1, old, new)]))
    bent("unknown-flag", "a header with an unknown flag", f.change_record(3, file_id, put(header(5, 9001), 0, b"\4"), []))
    long = struct.pack("<IIQ", 5_374_065, 0, 8)
    case("too-long", "one byte more than the longest record", put(frame, 0, long), "not-a-frame")
    case("too-much", "more slots than a frame carries", put(frame, 4, struct.pack("<I", 2**28 + 1)), "not-a-frame")
    case("too-short", "one byte less than the shortest record", put(frame, 0, struct.pack("<I", 31)), "not-a-frame")
