#!/usr/bin/env python3
"""Generates the test vectors, and the examples of docs/FORMAT.md.

    scripts/vectors.py               write tests/vectors anew
    scripts/vectors.py --check       fail unless they are what this would write
    scripts/vectors.py --write-doc   write the example blocks of docs/FORMAT.md anew
    scripts/vectors.py --check-doc   fail unless they are what this would write

Deterministic: there is no randomness and no clock. Needs `cryptography` and
`argon2-cffi` (Debian: python3-cryptography, python3-argon2).
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True

try:
    import doc_examples
    import keepfs_format
    import keepfs_recovery
    import vector_cases
except ModuleNotFoundError as missing:
    sys.exit(f"vectors.py: {missing}; install python3-cryptography and python3-argon2")

ROOT = pathlib.Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors"
DOCUMENT = ROOT / "docs" / "FORMAT.md"
EXAMPLE = re.compile(r"^```example (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONG_HEX = re.compile(r"\b[0-9a-f]{16,}\b")


def on_disk() -> "dict[str, str]":
    return {
        path.relative_to(VECTORS).as_posix(): path.read_text(encoding="utf-8")
        for path in VECTORS.rglob("*")
        if path.is_file()
    }


def write_vectors() -> None:
    wanted = vector_cases.all_cases()
    for stale in on_disk().keys() - wanted.keys():
        (VECTORS / stale).unlink()
    for name, text in wanted.items():
        path = VECTORS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{len(wanted)} vectors written")


def check_vectors() -> "list[str]":
    wanted, found = vector_cases.all_cases(), on_disk()
    faults = [f"tests/vectors/{name}: missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"tests/vectors/{name}: not made by this script" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"tests/vectors/{name}: differs" for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    if not faults:
        print(f"{len(wanted)} vectors are as this script makes them")
    return faults


def write_document() -> None:
    examples = doc_examples.all_examples()
    text = DOCUMENT.read_text(encoding="utf-8")
    text = EXAMPLE.sub(lambda block: f"```example {block[1]}\n{examples[block[1]]}```", text)
    DOCUMENT.write_text(text, encoding="utf-8")


def check_document() -> "list[str]":
    examples = doc_examples.all_examples()
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = [(block[1], block[2]) for block in EXAMPLE.finditer(text)]
    names = [name for name, _ in blocks]
    faults = [f"docs/FORMAT.md: example {name} is missing" for name in examples if name not in names]
    faults += [f"docs/FORMAT.md: example {name} stands there twice" for name in set(names) if names.count(name) > 1]
    for name, body in blocks:
        if name not in examples:
            faults.append(f"docs/FORMAT.md: nobody computes example {name}")
        elif body != examples[name]:
            faults.append(f"docs/FORMAT.md: example {name} differs from what is computed")
    faults += [
        f"docs/FORMAT.md: {digits[0]} stands outside of any example"
        for digits in LONG_HEX.finditer(EXAMPLE.sub("", text))
    ]
    if not faults:
        print(f"{len(blocks)} examples are as this script computes them")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="check the vectors, write nothing")
    parser.add_argument("--check-doc", action="store_true", help="check the document, write nothing")
    parser.add_argument("--write-doc", action="store_true", help="write the document's examples")
    chosen = parser.parse_args()
    keepfs_format.self_test()
    keepfs_recovery.self_test()
    faults = []
    if chosen.write_doc:
        write_document()
    if chosen.check_doc:
        faults += check_document()
    if chosen.check:
        faults += check_vectors()
    if not (chosen.check or chosen.check_doc or chosen.write_doc):
        write_vectors()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
