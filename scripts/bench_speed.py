#!/usr/bin/env python3
"""Measures the works of scripts/bench, which says how, and writes tables and a chart."""

import argparse
import io
import json
import math
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from bench_systems import SYSTEMS, Failed, run

FILES = 4700
# Speeds: more is better. Times: less is.
SPEED, TIME = "speed", "time"
# The work, what is measured, its unit, and for keepfs what is wanted against gocryptfs and hoped for.
WORKS = [
    ("sequential write, 1 MiB", SPEED, "MB/s", 2.2, 3),
    ("sequential read, cold", SPEED, "MB/s", 1.3, 1.8),
    ("random read 4 KiB, cold, 1 job", SPEED, "IOPS", 1.3, 2),
    ("random read 4 KiB, cold, 4 jobs", SPEED, "IOPS", 1.9, 3),
    ("random write 4 KiB", SPEED, "IOPS", 8, 10),
    ("random write 4 KiB, fsync each", SPEED, "IOPS", 1.8, 2.5),
    ("sequential writes of 4 KiB", SPEED, "MB/s", 10, 14),
    (f"untar {FILES} small files, sync", TIME, "s", 0.65, 0.4),
    ("find with stat, cold", TIME, "s", 0.9, 0.6),
    ("find with stat, warm", TIME, "s", 0.6, 0.4),
    ("read the tree (tar), cold", TIME, "s", 0.7, 0.5),
    ("git status, cold", TIME, "s", 0.7, 0.5),
    ("rm -rf", TIME, "s", 0.7, 0.5),
    ("git clone", TIME, "s", 0.7, 0.5),
]


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument("--keepfs", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--system", action="append", choices=list(SYSTEMS))
    parser.add_argument("--work", action="append", default=[])
    parser.add_argument("--backing", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--mount-option", dest="mount_options", action="append", default=[])
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (1 if chosen.quick else 3)
    chosen.system = chosen.system or [name for name in SYSTEMS if name != "ceiling" or not chosen.quick]
    names = [name for name, *_ in WORKS]
    for word in chosen.work:
        if not any(name.startswith(word) for name in names):
            parser.error(f"no work begins with {word!r}: {', '.join(names)}")
    chosen.wanted = {name for name in names if not chosen.work or name.startswith(tuple(chosen.work))}
    chosen.large = 128 if chosen.quick else 512
    chosen.seconds = 2 if chosen.quick else 4
    return chosen


# ---- what the works need ----

def make_sources(home):
    """A tar of small files, and a git repository of the same."""
    pick = random.Random("bench")
    tree, archive = home / "tree", home / "small.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(FILES):
            entry = tarfile.TarInfo(f"tree/{number // 200}/{number // 20 % 10}/file{number}")
            entry.size = int(2 ** pick.uniform(6, 13.5))
            tar.addfile(entry, io.BytesIO(pick.randbytes(entry.size)))
    run(["tar", "-xf", archive, "-C", home])
    git = ["git", "-C", tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    run([*git, "init", "-q"])
    run([*git, "add", "."])
    run([*git, "commit", "-qm", "bench"])
    return archive, tree


def fio(file, *words):
    """Bytes or operations a second, the last fsync included."""
    said = run(["fio", "--name=work", f"--filename={file}", "--ioengine=psync", "--fallocate=none", "--thread",
                "--group_reporting", "--output-format=json", *words])
    job = json.loads(said[said.index("{"):])["jobs"][0]
    done = job["write"] if job["write"]["io_bytes"] else job["read"]
    return done["io_bytes"] / (done["runtime"] / 1000), done["total_ios"] / (done["runtime"] / 1000)


def timed(*command, **words):
    began = time.monotonic()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, **words)
    return time.monotonic() - began


# ---- the works ----

class Round:
    """All works on one fresh vault."""

    def __init__(self, system, chosen, archive, tree):
        self.system, self.chosen, self.archive, self.tree = system, chosen, archive, tree
        self.found = {}

    def wants(self, *names):
        return any(name in self.chosen.wanted for name in names)

    def note(self, name, measure, cold=False):
        if self.wants(name):
            if cold:
                self.system.cool()
            self.found[name] = measure()

    def measure(self):
        self.system.init()
        self.system.mount()
        if self.wants(*(name for name, *_ in WORKS[:7])):
            self.large_files()
        if self.wants(*(name for name, *_ in WORKS[7:])):
            self.small_files()
        self.system.unmount()
        return self.found

    def large_files(self):
        point, chosen = self.system.point, self.chosen
        large, size = point / "large", f"--size={chosen.large}m"
        over = ("--bs=4k", size, "--overwrite=1")
        # The others need the file, so it is made in any case.
        made = fio(large, "--rw=write", "--bs=1m", size, "--end_fsync=1")[0] / 1e6
        self.note("sequential write, 1 MiB", lambda: made)
        self.note("sequential read, cold", lambda: fio(large, "--rw=read", "--bs=1m", size)[0] / 1e6, cold=True)
        for jobs, name in ((1, "1 job"), (4, "4 jobs")):
            self.note(f"random read 4 KiB, cold, {name}",
                      lambda: fio(large, "--rw=randread", "--bs=4k", size, f"--numjobs={jobs}", "--time_based",
                                  f"--runtime={chosen.seconds}", "--norandommap", "--randrepeat=0")[1], cold=True)
        self.note("random write 4 KiB",
                  lambda: fio(large, "--rw=randwrite", *over, f"--io_size={chosen.large // 4}m", "--end_fsync=1")[1], cold=True)
        self.note("random write 4 KiB, fsync each",
                  lambda: fio(large, "--rw=randwrite", *over, "--fsync=1", "--time_based", f"--runtime={chosen.seconds}")[1], cold=True)
        os.unlink(large)
        self.note("sequential writes of 4 KiB",
                  lambda: fio(point / "lines", "--rw=write", "--bs=4k", f"--size={chosen.large // 4}m", "--end_fsync=1")[0] / 1e6)

    def small_files(self):
        point = self.system.point
        unpacked = timed("tar", "-xf", self.archive, "-C", point) + timed("sync", "-f", point)
        self.note(f"untar {FILES} small files, sync", lambda: unpacked)
        find = ("find", "tree", "-printf", "%s %T@\n")
        if self.wants("find with stat, cold", "find with stat, warm"):
            self.system.cool()
            cold = timed(*find, cwd=point)
            self.note("find with stat, cold", lambda: cold)
            self.note("find with stat, warm", lambda: timed(*find, cwd=point))
        self.note("read the tree (tar), cold", lambda: timed("sh", "-c", "tar -cf - tree | wc -c", cwd=point), cold=True)
        self.note("rm -rf", lambda: timed("rm", "-rf", "tree", cwd=point), cold=True)
        if self.wants("git clone", "git status, cold"):
            cloned = timed("git", "clone", "-q", "--no-local", self.tree, point / "clone")
            self.note("git clone", lambda: cloned)
            self.note("git status, cold",
                      lambda: timed("git", "-c", "safe.directory=*", "-C", point / "clone", "status", "--short"), cold=True)


# ---- what comes out ----

def ratio(name, medians, other="gocryptfs"):
    """How many times the speed of another system, or which share of its time."""
    ours, theirs = medians.get("keepfs", {}).get(name), medians.get(other, {}).get(name)
    return ours / theirs if ours is not None and theirs else None


def shown(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}" if value < 10_000 else f"{value / 1000:.0f}k"


def verdict(value, kind, wanted, aim):
    if value is None:
        return "-"
    better = (lambda a, b: a >= b) if kind == SPEED else (lambda a, b: a <= b)
    return "aim" if better(value, aim) else "reached" if better(value, wanted) else "missed"


def table(chosen, medians):
    heads = ["work", "", *chosen.system, "keepfs : ceiling", "keepfs : gocryptfs", "wanted", "aim", ""]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, kind, unit, wanted, aim in WORKS:
        if name in chosen.wanted:
            value = ratio(name, medians)
            cells = [name, unit, *(shown(medians[system].get(name)) for system in chosen.system), shown(ratio(name, medians, "ceiling")),
                     shown(value), wanted, aim, verdict(value, kind, wanted, aim)]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def chart(chosen, medians):
    """Each system's speed in parts of gocryptfs's, on a logarithmic scale, as SVG."""
    systems = [name for name in chosen.system if name not in ("plain", "ceiling", "gocryptfs")]
    colours = dict(zip(systems, ("#1b7f5c", "#5b7db1", "#c98a2b", "#a65d7a")))
    works = [work for work in WORKS if work[0] in chosen.wanted]
    left, width, bar, gap = 260, 520, 11, 14
    row = bar * len(systems) + gap
    height = 70 + row * len(works)
    low, high = math.log(0.1), math.log(30)

    def place(value):
        return left + width * (min(max(math.log(value), low), high) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height}" font-family="sans-serif" font-size="11">',
             '<rect width="100%" height="100%" fill="white"/>',
             '<text x="10" y="18" font-size="13">Speed beside gocryptfs (1 = as fast; longer is faster)</text>']
    for number, system in enumerate(systems):
        parts.append(f'<rect x="{left + number * 110}" y="28" width="10" height="10" fill="{colours[system]}"/>'
                     f'<text x="{left + number * 110 + 14}" y="37">{system}</text>')
    for mark in (0.1, 0.3, 1, 3, 10, 30):
        x = place(mark)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="48" y2="{height - 14}" stroke="{"#444" if mark == 1 else "#ddd"}"/>'
                     f'<text x="{x:.1f}" y="{height - 3}" text-anchor="middle" fill="#666">{mark}</text>')
    for index, (name, kind, *_) in enumerate(works):
        y = 52 + index * row
        parts.append(f'<text x="{left - 8}" y="{y + row / 2 - 3}" text-anchor="end">{name}</text>')
        base = medians["gocryptfs"].get(name)
        for number, system in enumerate(systems):
            value = medians[system].get(name)
            if not value or not base:
                continue
            faster = value / base if kind == SPEED else base / value
            x, one = place(faster), place(1)
            parts.append(f'<rect x="{min(x, one):.1f}" y="{y + number * bar}" width="{abs(x - one):.1f}" height="{bar - 2}" fill="{colours[system]}"/>'
                         f'<text x="{max(x, one) + 3:.1f}" y="{y + number * bar + 8}" font-size="9">{faster:.2f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def page(chosen, medians, versions):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    return "\n".join([
        "# Speed", "",
        "Made by `scripts/bench`" + (" --quick" if chosen.quick else "") + ", which says what each work is and how it is measured. "
        f"Medians of {chosen.rounds} round{'s' if chosen.rounds > 1 else ''}, all systems in turn within one run, each with its "
        f"default options but for a cheaper key derivation, over {'a tmpfs' if chosen.backing == Path('/dev/shm') else 'a disk'}. Speeds: more is better; times in seconds: less is.", "",
        f"{time.strftime('%Y-%m-%d')}, commit {commit or 'unknown'}, Linux {platform.release()}, {os.cpu_count()} cores of {processor()}.", "",
        *(f"* {name}: {text}" for name, text in versions.items()), "",
        table(chosen, medians), "",
        "![chart](speed.svg)", ""])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options()
    archive, tree = make_sources(chosen.home)
    found = {name: {} for name in chosen.system}
    versions = {}
    total, done, began = chosen.rounds * len(chosen.system), 0, time.monotonic()
    # The vaults may be elsewhere; mount points are below `home`, and so taken off whatever happens.
    for number in range(chosen.rounds):
        # Nobody is always the first.
        turn = chosen.system[number % len(chosen.system):] + chosen.system[:number % len(chosen.system)]
        for name in turn:
            home = chosen.home / f"{name}-{number}"
            system = SYSTEMS[name](home, chosen)
            backing = system.put_backing(chosen.backing)
            try:
                versions[name] = system.version()
                for work, value in Round(system, chosen, archive, tree).measure().items():
                    found[name].setdefault(work, []).append(value)
            finally:
                system.unmount()
                shutil.rmtree(backing)
                shutil.rmtree(home)
            done += 1
            left = (time.monotonic() - began) / done * (total - done)
            print(f"  {done}/{total} {name}, {left / 60:.0f} min left", file=sys.stderr, flush=True)
    medians = {name: {work: statistics.median(values) for work, values in each.items()} for name, each in found.items()}
    versions = {name: versions[name] for name in chosen.system}
    print(page(chosen, medians, versions))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "speed.md").write_text(page(chosen, medians, versions), encoding="utf-8")
        (chosen.out / "speed.json").write_text(json.dumps({"versions": versions, "rounds": found}, indent=1) + "\n", encoding="utf-8")
        if "gocryptfs" in chosen.system:
            (chosen.out / "speed.svg").write_text(chart(chosen, medians), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"scripts/bench: {failed}")
