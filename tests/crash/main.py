#!/usr/bin/env python3
"""What kills and power cuts leave of a vault, and what safety costs. Run by
scripts/test-crash, which says how."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from report import say, write_json
from trial import LOADS


def options():
    parser = argparse.ArgumentParser(prog="scripts/test-crash", add_help=False)
    parser.add_argument("--keepfs", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--memory", type=Path)
    parser.add_argument("--kills", type=int, nargs="?", const=1000)
    parser.add_argument("--power", type=int, nargs="?", const=200)
    parser.add_argument("--copies", type=float, nargs="?", const=60)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--load", action="append", choices=list(LOADS))
    parser.add_argument("--system", action="append", choices=["keepfs", "gocryptfs", "securefs", "none"])
    parser.add_argument("--fs", action="append", choices=["ext4", "xfs"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--mount-option", dest="mount_options", action="append", default=[])
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.kills = chosen.kills or 20
        chosen.prove = True
    parts = (chosen.kills, chosen.power, chosen.copies, chosen.cost, chosen.prove)
    if not any(parts):
        parser.error("what shall be done? --kills, --power, --copies, --cost, --prove or --quick")
    if chosen.seed is None:
        chosen.seed = int.from_bytes(os.urandom(4), "little")
    chosen.seconds = (0.1, 0.8) if chosen.quick else (0.1, 1.2)
    chosen.load = chosen.load or list(LOADS)
    chosen.system = chosen.system or ["keepfs", "gocryptfs", "securefs", "none"]
    chosen.fs = chosen.fs or ["ext4", "xfs"]
    return chosen


def parts(chosen):
    """The chosen parts, each with what runs it. Imported here: not every part's needs are
    everybody's."""
    if chosen.prove:
        from prove import prove
        yield "prove", lambda: prove(chosen)
    if chosen.kills:
        from kills import Kills
        yield "kills", lambda: Kills(chosen).run()
    if chosen.power:
        from power import Power
        yield "power", lambda: Power(chosen).run()
    if chosen.copies:
        from copies import Copies
        yield "copies", lambda: Copies(chosen).run()
    if chosen.cost:
        from cost import cost
        yield "cost", lambda: cost(chosen)


def main():
    # However it ends, loads and mounts are taken down first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options()
    say(f"seed {chosen.seed}")
    result = {"seed": chosen.seed}
    passed = True
    for name, part in parts(chosen):
        began = time.monotonic()
        print(f"\n## {name}\n", flush=True)
        result[name] = part()
        result[name]["seconds"] = round(time.monotonic() - began, 1)
        passed = passed and result[name]["passed"]
        say(f"{name}: {'passed' if result[name]['passed'] else 'FAILED'} in {result[name]['seconds']:.0f} s, seed {chosen.seed}")
        write_json(chosen.json, result)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
