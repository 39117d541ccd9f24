#!/usr/bin/env python3
"""Measures the parts of scripts/bench-scale, which says what they are."""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from bench_speed import processor
from bench_systems import Failed, Keepfs, run

STEPS = 10
FULL = {"directory": 200_000, "tree": 1_000_000, "sparse": 100 << 30, "writers": 64, "open": 10_000}
PIECE = 1 << 20


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench-scale", add_help=False)
    parser.add_argument("--keepfs", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", action="append", choices=list(FULL))
    parser.add_argument("--backing", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--mount-option", dest="mount_options", action="append", default=[])
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.part = chosen.part or list(FULL)
    chosen.size = {part: size // 20 if chosen.quick and part not in ("sparse", "writers") else size for part, size in FULL.items()}
    return chosen


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def drop_caches():
    """The kernel forgets what it knows, and says so to the daemon."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as knob:
        knob.write("3")


class Mount:
    """A vault of its own for each part, and what its daemon takes."""

    def __init__(self, chosen, part):
        self.system = Keepfs(chosen.home / part, chosen)
        self.backing = self.system.put_backing(chosen.backing)
        self.home = chosen.home / part

    def __enter__(self):
        self.system.init()
        self.system.mount()
        self.point = self.system.point
        return self

    def __exit__(self, *_):
        self.system.unmount()
        shutil.rmtree(self.backing)
        shutil.rmtree(self.home)

    def memory(self):
        """Bytes that the daemon holds that no file stands for."""
        with open(f"/proc/{self.system.server.pid}/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def remount(self):
        self.system.unmount()
        self.system.mount()


def timed(work, count):
    """Microseconds for each of `count`."""
    began = time.monotonic()
    work()
    return (time.monotonic() - began) / count * 1e6


def make_file(path, content=b"some bytes of content"):
    with open(path, "wb", buffering=0) as file:
        file.write(content)


# ---- the parts ----

def directory(chosen, found):
    """Cost for each file of one directory as it grows, and as it goes."""
    total = chosen.size["directory"]
    step = total // STEPS
    costs = {"create": [], "list": [], "stat": [], "remove": []}
    with Mount(chosen, "directory") as mount:
        place = mount.point / "d"
        place.mkdir()
        name = "a name of usual length {}.txt".format
        for at in range(0, total, step):
            say(f"directory: {at + step} of {total} files")
            costs["create"].append(timed(lambda at=at: [make_file(place / name(i)) for i in range(at, at + step)], step))
            drop_caches()
            listed = []
            costs["list"].append(timed(lambda listed=listed: listed.extend(os.listdir(place)), at + step))
            if len(listed) != at + step:
                raise Failed(f"{len(listed)} files listed, not {at + step}")
            drop_caches()
            picked = random.Random(at).sample(range(at + step), step)
            costs["stat"].append(timed(lambda picked=picked: [os.stat(place / name(i)) for i in picked], step))
        for at in range(0, total, step):
            costs["remove"].insert(0, timed(lambda at=at: [os.unlink(place / name(i)) for i in range(at, at + step)], step))
        if os.listdir(place):
            raise Failed("something is left of the directory")
    found["directory"] = {"files": [at + step for at in range(0, total, step)], "us_each": costs}


def tree(chosen, found):
    """A walk over a tree: time, and memory for each file that the kernel knows."""
    total, each = chosen.size["tree"], 100
    with Mount(chosen, "tree") as mount:
        for number in range(total // each):
            place = mount.point / str(number // 100) / str(number % 100)
            place.mkdir(parents=True)
            for i in range(each):
                make_file(place / f"file {i}")
            if number % 1000 == 0:
                say(f"tree: {number * each} of {total} files made")
        mount.remount()
        drop_caches()
        before = mount.memory()
        seen = 0

        def walk(path):
            nonlocal seen
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += not entry.is_dir(follow_symlinks=False)
                    entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        walk(entry.path)

        say("tree: the walk")
        cost = timed(lambda: walk(mount.point), total)
        if seen != total:
            raise Failed(f"{seen} files seen, not {total}")
        known = mount.memory()
        drop_caches()
        time.sleep(2)
        found["tree"] = {"files": total, "walk_us_each": cost, "memory_before": before, "memory_known": known,
                         "bytes_each": (known - before) / total, "memory_forgotten": mount.memory()}


def sparse(chosen, found):
    """Opening, and 4 KiB at random, in a small file and in a huge one with holes."""
    huge, small, count = chosen.size["sparse"], 64 << 20, 5000
    result = {"bytes": huge, "us": {}}
    with Mount(chosen, "sparse") as mount:
        for name, size in (("64 MiB", small), (f"{huge >> 30} GiB", huge)):
            say(f"sparse: {name}")
            path = mount.point / name
            make_file(path, b"")
            os.truncate(path, size)
            pick = random.Random(name)
            offsets = [pick.randrange(size // 4096) * 4096 for _ in range(count)]
            block = pick.randbytes(4096)
            costs = {}
            fd = os.open(path, os.O_RDWR)
            costs["write 4 KiB, fsync at the end"] = timed(lambda fd=fd, offsets=offsets, block=block:
                                                            [os.pwrite(fd, block, at) for at in offsets] and os.fsync(fd), count)
            os.close(fd)
            mount.remount()
            costs["open"] = timed(lambda path=path: [os.close(os.open(path, os.O_RDONLY)) for _ in range(200)], 200)
            drop_caches()
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            blocks = set()
            costs["read 4 KiB"] = timed(lambda fd=fd, offsets=offsets, blocks=blocks:
                                        [blocks.add(os.pread(fd, 4096, at)) for at in offsets], count)
            os.close(fd)
            if blocks != {block}:
                raise Failed(f"{name}: other bytes than were written")
            result["us"][name] = costs
    found["sparse"] = result


def writers(chosen, found):
    """As many bytes by one writer and by many at once."""
    many, total = chosen.size["writers"], 256 << 20
    content = random.Random("writers").randbytes(PIECE)
    speeds = {}
    with Mount(chosen, "writers") as mount:
        def write(path, size):
            with open(path, "wb", buffering=0) as file:
                for _ in range(size // PIECE):
                    file.write(content)
                os.fsync(file.fileno())

        for count in (1, many):
            say(f"writers: {count}")
            threads = [threading.Thread(target=write, args=(mount.point / f"{count} {i}", total // count)) for i in range(count)]

            def all_of(threads=threads):
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            speeds[count] = total / timed(all_of, 1)
            held = mount.memory()
        mount.remount()
        drop_caches()
        for i in range(many):
            if (mount.point / f"{many} {i}").read_bytes() != content * (total // many // PIECE):
                raise Failed("a file reads other than it was written")
    found["writers"] = {"MB_s": speeds, "memory_after": held}


def open_files(chosen, found):
    """So many files open at once."""
    total = chosen.size["open"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < total + 100:
        raise Failed(f"this process may open {hard} files only")
    with Mount(chosen, "open") as mount:
        say(f"open: {total} files")
        before = mount.memory()
        files = []

        def open_all():
            for i in range(total):
                files.append(os.open(mount.point / f"file {i}", os.O_RDWR | os.O_CREAT, 0o644))
                os.write(files[-1], b"%d" % i)

        cost = timed(open_all, total)
        held = mount.memory()
        for i, fd in enumerate(files):
            if os.pread(fd, 20, 0) != b"%d" % i:
                raise Failed("a file reads other than it was written")
            os.close(fd)
        found["open"] = {"files": total, "us_each": cost, "bytes_each": (held - before) / total}


def idle(chosen, found):
    """What the daemon takes after unlocking with the cost of a new vault."""
    with Mount(chosen, "idle") as mount:
        time.sleep(2)
        found["idle"] = {"memory": mount.memory()}


# ---- what comes out ----

def mib(size):
    return f"{size / (1 << 20):.1f} MiB"


def table(heads, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [heads, ["---"] * len(heads), *rows])


def page(chosen, found):
    commit = run(["git", "describe", "--always", "--dirty"]).strip()
    parts = ["# Scale", "",
             "Made by `scripts/bench-scale`" + (" --quick" if chosen.quick else "") + f", which says what each part is, over "
             f"{'a tmpfs' if chosen.backing == Path('/dev/shm') else 'a disk'}. One run: growth counts, not single figures.", "",
             f"{time.strftime('%Y-%m-%d')}, commit {commit}, Linux {os.uname().release}, {os.cpu_count()} cores of {processor()}.", "",
             f"The daemon takes {mib(found['idle']['memory'])} when it has just unlocked its vault.", ""]
    if "directory" in found:
        part = found["directory"]
        parts += ["## One directory", "", "Microseconds for each file, in a directory of so many; list and stat cold.", "",
                  table(["files", *part["us_each"]],
                        [[count, *(f"{costs[i]:.1f}" for costs in part["us_each"].values())] for i, count in enumerate(part["files"])]),
                  "", "![growth](scale.svg)", ""]
    if "tree" in found:
        part = found["tree"]
        parts += ["## A tree", "", f"A walk over {part['files']} files with stat of each, cold: {part['walk_us_each']:.1f} us for each. The daemon "
                  f"grew from {mib(part['memory_before'])} to {mib(part['memory_known'])}, {part['bytes_each']:.0f} bytes for each file that the "
                  f"kernel knows, and went down to {mib(part['memory_forgotten'])} when the kernel forgot them.", ""]
    if "sparse" in found:
        part = found["sparse"]
        works = list(next(iter(part["us"].values())))
        parts += ["## A huge sparse file", "", "Microseconds for each.", "",
                  table(["file", *works], [[name, *(f"{costs[work]:.1f}" for work in works)] for name, costs in part["us"].items()]), ""]
    if "writers" in found:
        part = found["writers"]
        parts += ["## Many writers", "", table(["writers at once", "MB/s, fsync at the end of each"], [[count, f"{speed:.0f}"] for count, speed in part["MB_s"].items()]),
                  "", f"The daemon held {mib(part['memory_after'])} then.", ""]
    if "open" in found:
        part = found["open"]
        parts += ["## Many open files", "", f"{part['files']} new files, all open and written to: {part['us_each']:.1f} us and {part['bytes_each']:.0f} bytes "
                  "of the daemon for each.", ""]
    return "\n".join(parts)


def chart(part):
    """Cost for each file over the number of files, as SVG."""
    left, top, width, height = 60, 30, 520, 220
    colours = dict(zip(part["us_each"], ("#1b7f5c", "#5b7db1", "#c98a2b", "#a65d7a")))
    most, high = part["files"][-1], max(max(costs) for costs in part["us_each"].values()) * 1.1
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{top + height + 40}" font-family="sans-serif" font-size="11">',
             '<rect width="100%" height="100%" fill="white"/>',
             '<text x="10" y="16" font-size="13">Microseconds for each file of a growing directory</text>']
    for number, (name, colour) in enumerate(colours.items()):
        lines.append(f'<rect x="{left + number * 90}" y="22" width="10" height="10" fill="{colour}"/><text x="{left + number * 90 + 14}" y="31">{name}</text>')
    for share in (0, 0.5, 1):
        y = top + 10 + height * (1 - share)
        lines.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#ddd"/><text x="{left - 6}" y="{y + 4}" text-anchor="end">{high * share:.0f}</text>')
        lines.append(f'<text x="{left + width * share}" y="{top + height + 28}" text-anchor="middle">{most * share:.0f}</text>')
    for name, costs in part["us_each"].items():
        points = " ".join(f"{left + width * count / most:.1f},{top + 10 + height * (1 - cost / high):.1f}" for count, cost in zip(part["files"], costs))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options()
    measures = {"directory": directory, "tree": tree, "sparse": sparse, "writers": writers, "open": open_files}
    found = {}
    idle(chosen, found)
    for part in chosen.part:
        measures[part](chosen, found)
    print(page(chosen, found))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "scale.md").write_text(page(chosen, found), encoding="utf-8")
        (chosen.out / "scale.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if "directory" in found:
            (chosen.out / "scale.svg").write_text(chart(found["directory"]), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"scripts/bench-scale: {failed}")
