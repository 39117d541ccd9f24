"""Random overwrites, appends, truncations, holes, mappings and renames of a few files,
with an fsync every few steps. The steps follow from the seed alone, so that whoever knows how many
were acknowledged knows what every block may hold."""

import mmap
import os
import random

from child import Child, Load
from libc import punch
from model import BLOCK, FileModel, read_blocks

LARGEST = 3 << 20
WORKERS = 2
FILES = 3
KINDS = {
    "small": 30, "large": 16, "append": 8, "shrink": 3, "grow": 3, "punch": 4, "map": 4,
    "read": 6, "fsync": 18, "fdatasync": 6, "reopen": 4, "rename": 2,
}
# Two thirds of the runs write much between two syncs, half of these past the page cache of
# the mount, so that the cut meets much that is under way.
BULK = {**KINDS, "large": 160, "fsync": 10, "fdatasync": 4}
PROFILES = ((KINDS, 0), (BULK, 0), (BULK, os.O_DIRECT))
POOL = random.Random("pool").randbytes(8 << 20)


def contents(key, length):
    """Bytes that belong to `key`; other keys give others."""
    at = random.Random(key).randrange(len(POOL) - length)
    return POOL[at:at + length]


class Script:
    """The steps of one worker: file, kind, offset, bytes."""

    def __init__(self, models, seed, lacks):
        self.models = models
        self.seed = seed
        self.random = random.Random(seed)
        self.number = 0
        kinds, self.flag = self.random.choice(PROFILES)
        self.kinds = {kind: weight for kind, weight in kinds.items() if kind not in lacks}
        if "direct" in lacks:
            self.flag = 0

    def step(self):
        """The next step, as (file, kind, offset, bytes or length)."""
        pick = self.random
        self.number += 1
        file = pick.randrange(FILES)
        kind = pick.choices(list(self.kinds), self.kinds.values())[0]
        size = len(self.models[file].image)
        if kind in ("map", "punch", "read", "shrink") and size < 2:
            kind = "append"
        at = pick.randrange(size + 1)
        if kind == "append" or kind == "grow":
            at = size
        length = int(2 ** pick.uniform(0, 20 if kind in ("large", "punch", "read", "map") else 14))
        if kind == "large":
            length = max(length, 65536) if length < 262144 else 1 << 20
        if kind in ("map", "read", "punch"):
            at = min(at, size - 1)
            length = min(length, size - at)
        if at + length > LARGEST and kind not in ("shrink", "read", "map", "punch"):
            at = pick.randrange(LARGEST - length)
        if kind == "large" and self.flag:
            # One write may reach the daemon as several requests; they meet between blocks.
            at, length = at // BLOCK * BLOCK, max(length // BLOCK, 1) * BLOCK
        if kind in ("small", "large", "append", "map"):
            return file, kind, at, contents(f"{self.seed} {self.number}", length)
        return file, kind, at, length

    def apply(self, step):
        file, kind, at, what = step
        model = self.models[file]
        if kind in ("small", "large", "append", "map"):
            model.write(at, what)
        elif kind == "shrink":
            model.truncate(at)
        elif kind == "grow":
            model.truncate(max(at + what, len(model.image)))
        elif kind == "punch":
            model.punch(at, what)
        elif kind in ("fsync", "fdatasync"):
            model.fsync()


class Worker:
    """Carries the steps out on real files."""

    def __init__(self, place, models, seed, lacks):
        self.place = place
        self.script = Script(models, seed, lacks)
        # Begins with a page, unlike the bytes of Python: direct writes are cut at its pages.
        self.buffer = mmap.mmap(-1, 1 << 20)
        self.names = [0] * FILES
        for file in range(FILES):
            self.names[file] = 0 if path_of(place, file, 0).exists() else 1
        self.handles = [self.open(file) for file in range(FILES)]

    def open(self, file):
        return os.open(path_of(self.place, file, self.names[file]), os.O_RDWR | self.script.flag)

    def work(self, done):
        while True:
            step = self.script.step()
            self.carry_out(*step)
            self.script.apply(step)
            done(self.script.number)

    def carry_out(self, file, kind, at, what):
        handle = self.handles[file]
        if kind in ("small", "large", "append"):
            self.buffer[:len(what)] = what
            written = 0
            with memoryview(self.buffer) as view:
                while written < len(what):
                    written += os.pwrite(handle, view[written:len(what)], at + written)
        elif kind == "shrink":
            os.ftruncate(handle, at)
        elif kind == "grow":
            os.ftruncate(handle, max(at + what, len(self.script.models[file].image)))
        elif kind == "punch":
            punch(handle, at, what)
        elif kind == "map":
            with mmap.mmap(handle, 0) as mapped:
                mapped[at:at + len(what)] = what
        elif kind == "read":
            self.read_back(file, at, what)
        elif kind == "fsync":
            os.fsync(handle)
        elif kind == "fdatasync":
            os.fdatasync(handle)
        elif kind == "reopen":
            os.close(handle)
            self.handles[file] = self.open(file)
        elif kind == "rename":
            os.rename(path_of(self.place, file, self.names[file]), path_of(self.place, file, 1 - self.names[file]))
            self.names[file] = 1 - self.names[file]

    def read_back(self, file, at, length):
        """Compares a range with what was written. A read that the kill meets may end early; the
        next one says why."""
        handle, end = self.handles[file], at + length
        while at < end:
            seen = os.pread(handle, end - at, at)
            expected = self.script.models[file].image[at:at + len(seen)]
            if not seen or seen != expected:
                apart = next((i for i, (a, b) in enumerate(zip(seen, expected)) if a != b), len(seen))
                same = sum(a == b for a, b in zip(seen, expected))
                raise AssertionError(
                    f"file {file}, step {self.script.number}: other bytes at {at + apart} than were written; "
                    f"of {end - at} from {at} on, {len(seen)} were read, {same} of them as written")
            at += len(seen)


def path_of(place, file, which):
    return place / f"file{file}{('', '.renamed')[which]}"


class Writer(Load):
    """The load of several such workers, each with its own directory."""

    name = "overwrites"
    group = "writer"

    def __init__(self, seed, _home):
        super().__init__()
        sizes = random.Random(f"{seed} sizes")
        self.models = [
            [FileModel(contents(f"{seed} {worker} {file}", sizes.randrange(100_000, LARGEST - 100_000) >> sizes.randrange(4)))
             for file in range(FILES)]
            for worker in range(WORKERS)
        ]
        self.scripts = []

    def lay_out(self, top):
        for worker, models in enumerate(self.models):
            place = top / f"worker{worker}"
            place.mkdir()
            for file, model in enumerate(models):
                with open(path_of(place, file, 0), "xb") as target:
                    target.write(model.base)
                    os.fsync(target.fileno())

    def start(self, top, seed):
        self.scripts = [Script(models, f"{seed} {worker}", self.lacks) for worker, models in enumerate(self.models)]
        self.children = [
            # Built inside the child: its models go their own way.
            Child(lambda done, worker=worker: Worker(top / f"worker{worker}", self.models[worker], f"{seed} {worker}", self.lacks).work(done))
            for worker in range(WORKERS)
        ]

    def verify(self, top, outcome):
        for worker, (script, child) in enumerate(zip(self.scripts, self.children)):
            while script.number < child.steps:
                step = script.step()
                if script.number <= child.promised() or step[1] not in ("fsync", "fdatasync"):
                    script.apply(step)
            # The one that was under way may have happened, or a part of it.
            step = script.step()
            if step[1] not in ("fsync", "fdatasync"):
                script.apply(step)
            self.models[worker] = [
                self.look(top / f"worker{worker}", file, model, outcome) for file, model in enumerate(self.models[worker])
            ]

    @staticmethod
    def look(place, file, model, outcome):
        """Judges one file, and begins a new ledger with what it holds."""
        paths = [path for path in (path_of(place, file, 0), path_of(place, file, 1)) if os.path.lexists(path)]
        name = f"{place.name}/file{file}"
        if len(paths) != 1:
            outcome.lost.append(f"{name}: {len(paths)} of that name")
            return model
        try:
            seen = read_blocks(paths[0])
        except OSError as error:
            outcome.unreadable.append(f"{name}: {error.strerror}")
            outcome.lost.append(f"{name}: {error.strerror}")
            return model
        model.judge(name, seen, outcome)
        if all(isinstance(part, bytes) for part in seen):
            return FileModel(b"".join(seen))
        return model
