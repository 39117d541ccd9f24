#!/usr/bin/env python3
"""What `keepfs check --json` finds in a vault of scripts/encode.py, against what that wrote.

usage: encode_findings.py fresh ENCODED FOUND     exactly the side files without an entry, pins left from
                                                  earlier and files left open are named, and nothing else
       encode_findings.py changed ENCODED FOUND   at most these files are still open, and nothing is lost
       encode_findings.py show FOUND              print all that is not harmless
       encode_findings.py lost ENCODED            print the plain paths of the files left open

ENCODED is what encode.py printed. Paths printed are UTF-8 with surrogate escapes, each ended by NUL.
"""
import collections
import json
import os
import sys

HARMLESS = ("orphaned-side-file", "idle-pin")
UNSEALED = ("left-open", "longer")


def fresh(encoded, found):
    kinds = collections.Counter(f["kind"] for f in found["findings"])
    done, groups = encoded["done"], encoded["left_open"]
    orphans, idle = done.get("side file without an entry", 0), done.get("directory: pin left from earlier", 0)
    backing = [f["cipher_path"] for f in found["findings"] if f["kind"] in UNSEALED]
    named = [sum(path in backing for _, path in group) for group in groups]
    bad = [kind for kind in kinds if kind not in HARMLESS + UNSEALED]
    if kinds["orphaned-side-file"] != orphans:
        bad.append(f"{orphans} side files have no entry, {kinds['orphaned-side-file']} are named")
    if kinds["idle-pin"] > idle:  # of a directory without names nobody can tell
        bad.append(f"{idle} pins were left from earlier, {kinds['idle-pin']} are named")
    if 0 in named or sum(named) != len(backing):
        bad.append(f"files left open are named {named} times, {len(backing)} findings in all")
    return bad


def changed(encoded, found):
    count = len(encoded["left_open"])
    paths = [os.path.join(found["vault"], f["cipher_path"]) for f in found["findings"] if f["kind"] in UNSEALED]
    still = {os.lstat(path).st_ino for path in paths}  # each name of a file is a finding
    bad = [f["kind"] for f in found["findings"] if f["kind"] not in HARMLESS + UNSEALED]
    return bad + [f"{count} files were left open, {len(still)} are"] * (len(still) > count)


def load(path):
    with open(path) as f:
        return json.load(f)


def main():
    what, encoded, *found = sys.argv[1:]
    if what == "show":
        print("\n".join(f"{f['kind']}: {f['cipher_path']}" for f in load(encoded)["findings"] if f["kind"] not in HARMLESS))
        return 0
    if what == "lost":
        paths = [plain for group in load(encoded)["left_open"] for plain, _ in group]
        sys.stdout.buffer.write("".join(p + "\0" for p in paths).encode("utf-8", "surrogateescape"))
        return 0
    report = load(*found)
    bad = {"fresh": fresh, "changed": changed}[what](load(encoded), report)
    if report["invalid_slots"]:
        bad.append("slots that are none")
    print("\n".join(bad) if bad else f"{len(report['findings'])} findings as expected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
