"""Copies of the backing, made by rsync and cp while it is being overwritten."""

import os
import random
import shutil
import time
from collections import Counter

from child import Child, let_run
from model import read_blocks
from report import Broken, Progress, say, table
from systems import NO_LOSS, Keepfs, run
from writer import contents

FILES = 16
LARGEST = 2 << 20
KEPT = 3
# What says that a file was being written; a damaged one that says so was not sealed.
UNSEALED = {"left-open", "longer"}


def overwrite(top, seed, done):
    """Random overwrites, each file open for a moment or for a while, some of them synced.
    None of them makes a file longer: what DURABILITY.md says of those is less."""
    pick = random.Random(seed)
    step = 0
    while True:
        path = top / f"file{pick.randrange(FILES)}"
        with open(path, "r+b", buffering=0) as file:
            for _ in range(pick.choice((1, 1, 3, 30))):
                step += 1
                size = path.stat().st_size
                length = min(size, int(2 ** pick.uniform(0, 19)))
                file.seek(pick.randrange(size - length + 1))
                file.write(contents(f"{seed} {step}", length))
                if pick.randrange(3) == 0:
                    os.fsync(file.fileno())
                # Work as people do it, not as fast as it goes.
                time.sleep(pick.uniform(0, 0.02))
        done(step)


class Copies:
    """One mounted vault, and a copy of its backing each second."""

    def __init__(self, options):
        self.options = options
        home = options.work / "copied"
        home.mkdir()
        self.home = home
        self.system = Keepfs(home, home / "vault", options)
        self.reader_home = options.work / "reader"
        self.reader_home.mkdir()
        # Another device, as it were: it has the key and no state of the first.
        shutil.copy(self.system.keyfile, self.reader_home / "key")
        self.counts = {name: Counter() for name in ("rsync", "cp")}
        self.failures = []

    def run(self):
        self.system.init()
        self.system.mount()
        for number in range(FILES):
            size = random.Random(f"{self.options.seed} {number}").randrange(50_000, LARGEST)
            (self.system.point / f"file{number}").write_bytes(contents(f"{self.options.seed} {number}", size))
        children = [
            Child(lambda done, worker=worker: overwrite(self.system.point, f"{self.options.seed} {worker}", done))
            for worker in range(2)
        ]
        seconds = self.options.copies * 60
        progress = Progress(int(seconds))
        began = time.monotonic()
        number = 0
        try:
            while (passed := time.monotonic() - began) < seconds:
                number += 1
                tick = time.monotonic()
                name = ("rsync", "cp")[number % 2]
                self.one(number, name)
                let_run(children, max(0.001, 1 - (time.monotonic() - tick)))
                progress.show(int(passed), f"s; {number} copies, {len(self.failures)} failures")
        finally:
            for child in children:
                child.abandon()
            self.system.detach()
        return self.result()

    def one(self, number, name):
        copy = self.home / f"copy-{number}"
        if name == "rsync":
            # Updated each time, as rsync is meant to be; looked at in a copy.
            kept = self.home / "rsynced"
            done = run(["rsync", "-a", "--delete", f"{self.system.backing}/", f"{kept}/"])
            vanished = done.returncode == 24
            if done.returncode in (0, 24):
                done = run(["cp", "-a", kept, copy])
        else:
            done = run(["cp", "-a", self.system.backing, copy])
            vanished = done.returncode == 1 and all("No such file" in line for line in done.stderr.splitlines())
        if done.returncode != 0 and not vanished:
            raise Broken(f"{name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        before = len(self.failures)
        try:
            self.examine(f"{name}, copy {number}", copy, self.counts[name])
        except Broken as broken:
            self.fail(f"{name}, copy {number}: {broken}")
        if len(self.failures) == before or len(self.failures) > KEPT:
            shutil.rmtree(copy)

    def fail(self, text):
        self.failures.append(text)
        if len(self.failures) <= 20:
            say(f"FAILED {text}")

    def examine(self, where, copy, counts):
        counts["copies"] += 1
        reader = Keepfs(self.reader_home, copy, self.options)
        _, report = reader.report()
        kinds = {}
        for finding in report["findings"]:
            path = finding.get("plain_path")
            kinds.setdefault(path, []).append(finding)
        unsealed = {path for path, findings in kinds.items() if any(each["kind"] in UNSEALED for each in findings)}
        damaged = {path for path, findings in kinds.items() if any(each["loss"] not in NO_LOSS for each in findings)}
        counts["sealed"] += FILES - len(unsealed)
        counts["open"] += len(unsealed)
        counts["open, damaged"] += len(damaged & unsealed)
        for path in sorted(damaged - unsealed, key=str):
            if {each["kind"] for each in kinds[path]} == {"wrong-seal"}:
                # Each chunk is one that was written, and can be read: what DURABILITY.md says
                # of copies made while a checkpoint could not be announced.
                counts["sealed, of two versions"] += 1
                continue
            counts["sealed, damaged"] += 1
            self.fail(f"{where}: {path} is sealed: " + "; ".join(f"{each['kind']}: {each['what']}" for each in kinds[path]))
        reader.mount()
        try:
            for number in range(FILES):
                name = f"file{number}"
                if (error := first_error(reader.point / name)):
                    counts["unreadable in the mount"] += 1
                    if name not in unsealed and name not in damaged:
                        self.fail(f"{where}: {name} is sealed and cannot be read in a mount: {error}")
            reader.unmount()
        finally:
            reader.detach()

    def result(self):
        heads = ["copies", "sealed", "open", "sealed, of two versions", "sealed, damaged", "open, damaged", "unreadable in the mount"]
        print(table(["client", *heads], [[name, *(counts[head] for head in heads)] for name, counts in self.counts.items()]))
        return {
            "passed": not self.failures,
            "clients": {name: {head: counts[head] for head in heads} for name, counts in self.counts.items()},
            "failures": self.failures[:50],
        }


def first_error(path):
    """What stands in the way of reading a file, if anything does."""
    try:
        return next((part for part in read_blocks(path) if not isinstance(part, bytes)), None)
    except OSError as error:
        return error
