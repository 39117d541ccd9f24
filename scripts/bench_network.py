"""The work, the rounds and the tables of scripts/bench-network.

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

from network_systems import KINDS, Gocryptfs, Keepfs, Plain, end_in_order, settled


LARGE_BYTES = 64 * 1024


class Tree:
    """What the work is done on: directories of small files, among them long names, and
    symbolic links where the backing has them; and one directory of larger files."""

    def __init__(self, dirs, files, large, links):
        self.dirs = [f"directory {number:03}" for number in range(dirs)]
        self.files = []
        self.links = []
        self.large = [f"large/file {number:03}" for number in range(large)]
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
        (root / "large").mkdir()
        for name in self.large:
            (root / name).write_bytes(content(3799) * (LARGE_BYTES // 3999 + 1))

    def some(self, count):
        return self.files[::max(1, len(self.files) // count)][:count]

    def __len__(self):
        return len(self.everything())

    def everything(self):
        return [*self.dirs, *self.files, *self.links, "large", *self.large]


def content(number):
    return bytes((number * 7 + i) % 251 for i in range(200 + number % 3800))


def write_new(root, count, sync):
    for number in range(count):
        with open(root / f"new {number:04}", "xb") as file:
            file.write(content(number))
            if sync:
                file.flush()
                os.fsync(file.fileno())


def overwrite(root, names, at, piece):
    for name in names:
        file = os.open(root / name, os.O_WRONLY)
        os.pwrite(file, piece, at)
        os.close(file)


def append(root, names):
    for name in names:
        with open(root / name, "ab") as file:
            file.write(b"one more line\n")


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


def list_all(root):
    subprocess.run(["ls", "-lR", root], stdout=subprocess.DEVNULL, check=True)


def remove_all(root):
    names = [name for name in os.listdir(root) if name.startswith(("dir", "new", "large"))]
    subprocess.run(["rm", "-r", *(root / name for name in names)], check=True)


class Work:
    """One piece of work: `count` operations on a tree. What is `first` is done before
    and not counted."""

    def __init__(self, name, count, job, first=None):
        self.name = name
        self.count = count
        self.job = job
        self.first = first


# Pieces of work that change nothing.
LOOKING = 5


def pieces_of_work(tree, small):
    """In this order: later ones find what earlier ones left. The first LOOKING of them
    change nothing."""
    names, dirs, few = tree.some(small), small // 5, len(tree.large)
    everything = tree.everything()
    return [
        Work("`ls -lR`", len(tree), list_all),
        Work("`ls -lR` again at once", len(tree), list_all, first=list_all),
        Work("stat of each", len(tree), lambda root: [os.lstat(root / name) for name in everything]),
        Work("read a small file", len(tree.files), lambda root: read(root, tree.files)),
        Work("read it again", small, lambda root: read(root, names),
             first=lambda root: read(root, names)),
        Work("overwrite 11 bytes", small, lambda root: overwrite(root, names, 100, b"other bytes")),
        Work("overwrite 4 KiB of 64", few, lambda root: overwrite(
            root, tree.large, 16384, bytes(4096))),
        Work("append 14 bytes", small, lambda root: append(root, names)),
        Work("rewrite with O_TRUNC", small, lambda root: replace_all(root, names)),
        Work("create", small, lambda root: write_new(root / tree.dirs[0], small, False)),
        Work("create with fsync", small, lambda root: write_new(root / tree.dirs[1], small, True)),
        Work("rename", small, lambda root: rename(root, names)),
        Work("mkdir", dirs, lambda root: make_dirs(root, dirs)),
        Work("unlink", small, lambda root: [
            os.unlink(root / tree.dirs[0] / f"new {number:04}") for number in range(small)]),
        Work("`rm -r`", len(tree) + small + dirs, remove_all),
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
            if work.first:
                work.first(root)
            before = settled(backing)
            began = time.perf_counter()
            work.job(root)
            seconds = time.perf_counter() - began
            system.finish()
            return seconds, settled(backing) - before
        finally:
            system.unmount()
    finally:
        backing.unmount()


def one_round(kind, arguments, results):
    work = Path(tempfile.mkdtemp(dir=arguments.work))
    backing = kind(work, arguments.delay)
    options = ["--no-journal"] if arguments.no_journal else []
    systems = [Plain(work), Gocryptfs(work), Keepfs(work, arguments.keepfs, options)]
    tree = tree_for(kind, arguments)
    for system in systems:
        # On the server itself: how it came there is not measured.
        system.make(backing.server)
        tree.make(system.mount(backing.server))
        system.unmount()
    for piece in pieces_of_work(tree, arguments.small):
        for system in systems:
            seconds, requests = measure(backing, system, piece)
            result = results[piece.name, system.name]
            result.seconds.append(seconds)
            result.requests = requests
            print(f"{kind.name}: {piece.name}, {system.name}: {seconds:.3f} s, "
                  f"{sum(requests.values()) / piece.count:.2f} each", file=sys.stderr)
    # Nothing is mounted any more.
    shutil.rmtree(work)


def tree_for(kind, arguments):
    return Tree(arguments.dirs, arguments.files, arguments.small // 5, kind.has_links)


def each(results, piece, system):
    return sum(results[piece.name, system.name].requests.values()) / piece.count


def asks_more(results, piece):
    """Whether keepfs asks the backing more than gocryptfs does. What the clock decides,
    a look at `keepfs.names` once a second, may come to half a percent."""
    return each(results, piece, Keepfs) > each(results, piece, Gocryptfs) * 1.005 + 0.005


def table(kind, pieces, arguments, results):
    with_delay = f", each held up {arguments.delay} ms each way" if arguments.delay else ""
    yield f"### {kind.name}: {kind.counts_what}{with_delay}"
    yield ""
    yield "| work | operations | " + " | ".join(
        f"{name}, requests each" for name in ("alone", "gocryptfs", "keepfs")
    ) + " | keepfs / gocryptfs | gocryptfs, s | keepfs, s |"
    yield "|---" * 8 + "|"
    for piece in pieces:
        alone, other, ours = (each(results, piece, one) for one in (Plain, Gocryptfs, Keepfs))
        times = [statistics.median(results[piece.name, one.name].seconds)
                 for one in (Gocryptfs, Keepfs)]
        ratio = f"{ours / other:.2f}" if other else "-"
        yield (f"| {piece.name} | {piece.count} | {alone:.2f} | {other:.2f} | {ours:.2f}"
               f" | {ratio} | {times[0]:.2f} | {times[1]:.2f} |")
    yield ""
    yield "Requests of each kind, for one operation:"
    yield ""
    yield "| work | gocryptfs | keepfs |"
    yield "|---|---|---|"
    for piece in pieces:
        said = [", ".join(f"{name} {value / piece.count:.2f}" for name, value in sorted(
            results[piece.name, one.name].requests.items()) if value / piece.count >= 0.005)
            for one in (Gocryptfs, Keepfs)]
        yield f"| {piece.name} | {said[0]} | {said[1]} |"
    yield ""
    more = [piece.name for piece in pieces if asks_more(results, piece)]
    yield ("keepfs asks more than gocryptfs for: " + ", ".join(more) if more
           else "keepfs asks no more than gocryptfs for anything.")
    yield ""


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-network")
    parser.add_argument("--keepfs", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dirs", type=int, default=100)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--no-journal", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    end_in_order()
    if arguments.quick:
        arguments.rounds, arguments.dirs, arguments.files, arguments.small = 1, 20, 200, 50
    failed = []
    for name in arguments.kind or list(KINDS):
        kind = KINDS[name]
        results = collections.defaultdict(Result)
        for _ in range(arguments.rounds):
            one_round(kind, arguments, results)
        pieces = pieces_of_work(tree_for(kind, arguments), arguments.small)
        print("\n".join(table(kind, pieces, arguments, results)), flush=True)
        failed += [f"{name}: {piece.name}" for piece in pieces[:LOOKING]
                   if asks_more(results, piece)]
    if failed:
        sys.exit("looking asks the backing more than gocryptfs does: " + ", ".join(failed))


if __name__ == "__main__":
    main()
