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
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attack_acts import ATTACKS, COSTS
from attack_owner import AFTER, BEFORE, FILES, LINKS, OUTSIDE, fill, put_back
from attack_systems import (
    Cryfs, Encfs, EncfsParanoia, Gocryptfs, Keepfs, Securefs, System,
)

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
