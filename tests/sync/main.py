#!/usr/bin/env python3
"""Two devices hold one vault, each with a mount; a real sync client carries what lies on
the one backing to the other. Run by scripts/test-sync, which says how.

usage: main.py --keepfs PROGRAM --work DIRECTORY [option...]
"""

import argparse
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import activity
import on_directories
import on_files
import trees
import turns
from clients import Bisync, Rsync, RsyncInPlace, Unison, version
from device import Broken, Device, say, until
from look import Look, conflict_of
from syncthing import Syncthing

ALL = on_files.ALL + on_directories.ALL
CLIENTS = {
    "syncthing": [Syncthing],
    "bisync": [Bisync],
    "unison": [Unison],
    "rsync": [Rsync, RsyncInPlace],
}
# Findings of `keepfs check` that are no damage: a conflict copy is what a client leaves
# on purpose; of the others check itself says that nothing is lost with them.
HARMLESS = {"conflict-copy", "idle-pin", "lost-pin", "orphaned-side-file", "leftover", "client-temp"}


class Round:
    """One client between two fresh devices."""

    def __init__(self, kind, options):
        self.options = options
        home = options.work / kind.name
        home.mkdir()
        self.home = home
        keyfile = home / "key"
        keyfile.write_bytes(os.urandom(64))
        self.left, self.right = (Device(name, home, options.keepfs, keyfile) for name in ("left", "right"))
        self.devices = (self.left, self.right)
        self.left.init()
        self.right.copy_from(self.left)
        self.client = kind(home / "client-home", self.left, self.right)
        self.failures = []
        # What the mounts show in the end, once they agree.
        self.shown_copies = None

    def fail(self, text):
        self.failures.append(text)
        print(f"FAILED {self.client.name}: {text}", file=sys.stderr, flush=True)

    def attempt(self, what, function, *arguments):
        """A failure is noted; what comes after it is still tried."""
        began = time.monotonic()
        try:
            function(*arguments)
        except (Broken, OSError) as broken:
            self.fail(f"{what}: {broken}")
        say(f"{self.client.name}: {what}: {time.monotonic() - began:.0f} s")

    def run(self):
        try:
            for device in self.devices:
                device.mount()
            self.client.start()
            if self.client.two_way and not self.options.no_scenarios:
                self.attempt("scenarios", self.scenarios)
            if not self.options.only:
                model = self.home / "model"
                model.mkdir()
                self.attempt("turns", turns.take_turns, self.client, self.left, self.right, model,
                             3 if self.options.quick and self.client.two_way else None)
                self.attempt("growing file", turns.grow, self.client, self.left, self.right,
                             4 if self.options.quick else 20)
                if self.options.minutes:
                    self.attempt("random activity", activity.act, self)
            self.attempt("whole trees", self.whole)
            self.client.stop()
            for device in self.devices:
                device.unmount()
            self.attempt("check", self.check)
        finally:
            self.client.stop()
            for device in self.devices:
                device.abandon()
        return self.failures

    # ---- scenarios ----

    def chosen(self):
        return [
            scenario for scenario in (kind() for kind in ALL)
            if self.client.name not in scenario.without
            and (not self.options.only or scenario.name in self.options.only)
        ]

    def scenarios(self):
        """All of them at once: a client takes as long for one as for twenty."""
        client, chosen = self.client, self.chosen()
        for scenario in chosen:
            here = self.left.mount_point / scenario.name
            here.mkdir()
            (here / "scenario").write_text(scenario.__doc__, encoding="utf-8")
            scenario.before(here)
        client.settle()
        self.agree("before")
        client.offline()
        for scenario in chosen:
            scenario.left(self.left.mount_point / scenario.name)
        # Who edits later wins with Unison; let there be no doubt who that is.
        time.sleep(1.1)
        for scenario in chosen:
            scenario.right(self.right.mount_point / scenario.name)
        client.online()
        client.settle()
        looks = self.judge(chosen, lambda scenario, look: scenario.expect(look))
        going_on = [scenario for scenario in chosen if scenario.then]
        for scenario in going_on:
            scenario.then(self.left.mount_point / scenario.name, looks[scenario.name])
        if going_on:
            client.settle()
            self.judge(going_on, lambda scenario, look: scenario.expect_then(look))

    def judge(self, chosen, expect):
        """A mount may show what was there before for a second, so there is some patience."""
        looks = {}

        def look():
            for scenario in chosen:
                seen = Look(scenario.name, self.client, self.left, self.right)
                for shown in seen.shown.values():
                    shown.pop("scenario", None)
                expect(scenario, seen)
                looks[scenario.name] = seen
            return not any(seen.wrong for seen in looks.values())

        until(look, 6, pause=1)
        for scenario in chosen:
            wrong = looks[scenario.name].wrong
            if wrong:
                self.fail(f"{scenario.name}: {scenario.__doc__}\n    " + "\n    ".join(wrong))
            else:
                say(f"{self.client.name}: {scenario.name}")
        return looks

    # ---- the end ----

    def agree(self, when):
        """Both mounts show the same, and everything can be read."""
        def wrong():
            one, two = (self.client.carried(trees.tree(device.mount_point)) for device in self.devices)
            return trees.errors(one) + trees.errors(two) + trees.differences(one, two)

        if not until(lambda: not wrong(), 10, pause=0.5):
            raise Broken(f"{when}: the mounts differ (left / right): " + "; ".join(wrong()))

    def whole(self):
        self.client.settle()
        self.agree("at the end")
        one = trees.tree(self.left.mount_point)
        self.shown_copies = {path for path in one if conflict_of(path.rpartition("/")[2])}
        say(f"{self.client.name}: both mounts show the same {len(one)} entries")

    def check(self):
        for device in self.devices:
            listed = device.conflict_copies()
            if self.shown_copies is not None and listed != self.shown_copies:
                raise Broken(f"{device.name}: keepfs conflicts and the mount disagree: "
                             + "; ".join(map(trees.short, sorted(listed ^ self.shown_copies))))
        for device in self.devices:
            status, findings = device.findings()
            bad = [finding for finding in findings if finding["kind"] not in HARMLESS]
            # A copy taken while it was written, which the other device then moved away from
            # where the rest was to arrive. Its chunks are whole, and it is the same on both.
            moved = [finding for finding in bad if finding["kind"] in ("left-open", "longer")
                     and [each["cipher_path"] for each in findings].count(finding["cipher_path"]) == 1]
            if moved and all(finding in moved for finding in bad) and self.shown_copies is not None:
                say(f"{self.client.name}: {len(moved)} moved while they were on their way: "
                    + ", ".join(trees.short(finding["plain_path"]) for finding in moved))
                continue
            kinds = sorted({finding["kind"] for finding in findings} - {each["kind"] for each in bad})
            notes = ", ".join(f"{sum(each['kind'] == kind for each in findings)} {kind}" for kind in kinds)
            say(f"{self.client.name}: check of {device.name}: {status}, {len(bad)} findings" + (f"; notes: {notes}" if notes else ""))
            if bad or status != 0:
                raise Broken(f"check of {device.name} ended with {status}: " + "; ".join(str(each) for each in bad[:8]))


def options():
    parser = argparse.ArgumentParser(prog="scripts/test-sync", add_help=False)
    parser.add_argument("--keepfs", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--client", choices=[*CLIENTS, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", metavar="SCENARIO",
                        choices=[kind.__name__ for kind in ALL])
    parser.add_argument("--no-scenarios", action="store_true")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.minutes = 0
    return chosen


def main():
    # However it ends, mounts and clients are taken down first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options()
    version(["syncthing", "--version"], r"syncthing v\S+")
    version(["rclone", "version"], r"rclone v\S+")
    version(["unison", "-version"], r"unison version \S+")
    version(["rsync", "--version"], r"rsync +version \S+")
    say(f"seed {chosen.seed}")
    failures = []
    for name, kinds in CLIENTS.items():
        if chosen.client not in (name, "all"):
            continue
        for kind in kinds:
            began = time.monotonic()
            try:
                round_failures = Round(kind, chosen).run()
            except Exception as error:
                # A defect of one round: the others still run, and it counts.
                if not isinstance(error, Broken):
                    traceback.print_exc()
                round_failures = [f"{kind.name}: {error}"]
                print(f"FAILED {round_failures[0]}", file=sys.stderr, flush=True)
            failures += round_failures
            say(f"{kind.name}: {len(round_failures)} failures in {time.monotonic() - began:.0f} s")
    print(f"{len(failures)} failures", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
