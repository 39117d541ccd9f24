"""The work, the rounds and the table of scripts/bench-network.

For each kind of backing and each round, the systems come in turn. Before each piece of
work the backing and the system are mounted afresh, so every cache is cold but the
server's own; then the counters are read, the work is done and timed, and the counters
are read again once they stand still. What mounting and unmounting cost is in neither.
"""

import argparse
import collections
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from network_systems import Gocryptfs, Keepfs, Plain, Rclone, Sshfs, settled

KINDS = {kind.name: kind for kind in (Sshfs, Rclone)}


class Tree:
    """What the work is done on: directories of small files, among them long names, and
    symbolic links where the backing has them."""

    def __init__(self, dirs, files, links):
        self.dirs = [f"directory {number:03}" for number in range(dirs)]
        self.files = []
        self.links = []
        for number in range(files):
            name = f"file {number:04}.txt"
            if number % 20 == 7:
                name = f"{number:04} " + "a long name " * 14
            self.files.append(f"{self.dirs[number % dirs]}/{name}")
        if links:
            self.links = [f"{self.dirs[number % dirs]}/link {number:03}"
                          for number in range(files // 20)]

    def make(self, root):
        for name in self.dirs:
            (root / name).mkdir()
        for number, name in enumerate(self.files):
            (root / name).write_bytes(content(number))
        for name in self.links:
            (root / name).symlink_to("file 0001.txt")

    def some(self, count):
        return self.files[::max(1, len(self.files) // count)][:count]

    def __len__(self):
        return len(self.dirs) + len(self.files) + len(self.links)


def content(number):
    return bytes((number * 7 + i) % 251 for i in range(200 + number % 3800))


def write_new(root, count, sync):
    for number in range(count):
        with open(root / f"new {number:04}", "xb") as file:
            file.write(content(number))
            if sync:
                file.flush()
                os.fsync(file.fileno())


def overwrite(root, names):
    for name in names:
        file = os.open(root / name, os.O_WRONLY)
        os.pwrite(file, b"other bytes", 100)
        os.close(file)


def replace_all(root, names):
    for number, name in enumerate(names):
        (root / name).write_bytes(content(number + 1))


def read(root, names):
    for name in names:
        (root / name).read_bytes()


def rename(root, names):
    for name in names:
        os.rename(root / name, root / (name[:30] + ".renamed"))


def make_dirs(root, count):
    for number in range(count):
        os.mkdir(root / f"new directory {number:03}")


def pieces_of_work(tree, small):
    """Name, number of file-system operations it stands for, and the work itself, in
    this order: later ones find what earlier ones left."""
    names = tree.some(small)
    everything = tree.dirs + tree.files + tree.links
    return [
        ("ls -lR", len(tree), lambda root: subprocess.run(
            ["ls", "-lR", root], stdout=subprocess.DEVNULL, check=True)),
        ("stat of each", len(tree), lambda root: [os.lstat(root / name) for name in everything]),
        ("read of small files", small, lambda root: read(root, names)),
        ("overwrite inside", small, lambda root: overwrite(root, names)),
        ("rewrite with O_TRUNC", small, lambda root: replace_all(root, names)),
        ("create", small, lambda root: write_new(root / tree.dirs[0], small, False)),
        ("create with fsync", small, lambda root: write_new(root / tree.dirs[1], small, True)),
        ("rename", small, lambda root: rename(root, names)),
        ("mkdir", small // 5, lambda root: make_dirs(root, small // 5)),
        ("rm -r", len(tree) + 2 * small + small // 5, lambda root: subprocess.run(
            ["rm", "-r", *(root / name for name in os.listdir(root) if name.startswith(("dir", "new")))],
            check=True)),
    ]


class Result:
    """Seconds of each round, and requests of the last one."""

    def __init__(self):
        self.seconds = []
        self.requests = collections.Counter()


def measure(backing, system, work):
    backing.mount()
    try:
        root = system.mount(backing.point)
        try:
            before = settled(backing)
            began = time.perf_counter()
            work(root)
            seconds = time.perf_counter() - began
            return seconds, settled(backing) - before
        finally:
            system.unmount()
    finally:
        backing.unmount()


def one_round(kind, arguments, results):
    work = Path(tempfile.mkdtemp(dir=arguments.work))
    backing = kind(work, arguments.delay)
    systems = [Plain(work), Gocryptfs(work), Keepfs(work, arguments.keepfs)]
    tree = Tree(arguments.dirs, arguments.files, kind is not Rclone)
    for system in systems:
        # On the server itself: how it came there is not measured.
        system.make(backing.server)
        tree.make(system.mount(backing.server))
        system.unmount()
    for name, count, job in pieces_of_work(tree, arguments.small):
        for system in systems:
            seconds, requests = measure(backing, system, job)
            result = results[name, system.name]
            result.seconds.append(seconds)
            result.requests = requests
            print(f"{kind.name}: {name}, {system.name}: {seconds:.3f} s, "
                  f"{sum(requests.values()) / count:.2f} each", file=sys.stderr)
    # Nothing is mounted any more.
    shutil.rmtree(work)


def table(kind, arguments, results):
    tree = Tree(arguments.dirs, arguments.files, kind is not Rclone)
    with_delay = f", each held up {arguments.delay} ms each way" if arguments.delay else ""
    yield f"### {kind.name}: {kind.counts_what}{with_delay}"
    yield ""
    yield "| work | operations | " + " | ".join(
        f"{name}, requests each" for name in ("alone", "gocryptfs", "keepfs")
    ) + " | gocryptfs, s | keepfs, s | keepfs / gocryptfs, time | requests |"
    yield "|---" * 9 + "|"
    more = []
    for name, count, _ in pieces_of_work(tree, arguments.small):
        alone, other, ours = (results[name, system.name] for system in (Plain, Gocryptfs, Keepfs))
        each = [sum(one.requests.values()) / count for one in (alone, other, ours)]
        times = [statistics.median(one.seconds) for one in (other, ours)]
        yield (f"| {name} | {count} | " + " | ".join(f"{value:.2f}" for value in each)
               + f" | {times[0]:.2f} | {times[1]:.2f} | {times[1] / times[0]:.2f}"
               + f" | {each[2] / each[1]:.2f} |")
        if each[2] > each[1] * 1.005:
            more.append(name)
    yield ""
    yield "Requests of each kind, for one operation:"
    yield ""
    yield "| work | gocryptfs | keepfs |"
    yield "|---|---|---|"
    for name, count, _ in pieces_of_work(tree, arguments.small):
        said = [", ".join(f"{kind} {value / count:.2f}" for kind, value in sorted(
            results[name, system.name].requests.items()) if value / count >= 0.005)
            for system in (Gocryptfs, Keepfs)]
        yield f"| {name} | {said[0]} | {said[1]} |"
    yield ""
    yield ("keepfs asks more than gocryptfs for: " + ", ".join(more) if more
           else "keepfs asks no more than gocryptfs for anything.")
    yield ""


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-network")
    parser.add_argument("keepfs")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dirs", type=int, default=100)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    for name in arguments.kind or ["sshfs", "rclone"]:
        kind = KINDS[name]
        results = collections.defaultdict(Result)
        for _ in range(arguments.rounds):
            one_round(kind, arguments, results)
        print("\n".join(table(kind, arguments, results)), flush=True)


if __name__ == "__main__":
    main()
