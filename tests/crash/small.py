"""Small files: saved as an editor does it, and unpacked as tar or a package manager does."""

import os
import random

from child import Child, Load
from writer import contents

NAMES = 24
GROUP = 10


def sync_directory(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def store(path, data, synced=True):
    with open(path, "wb", buffering=0) as file:
        # In pieces, as programs write them.
        for at in range(0, len(data), 16384):
            file.write(data[at:at + 16384])
        if synced:
            os.fsync(file.fileno())


def is_beginning(seen, whole):
    """Whether `seen` is how `whole` begins, zeros standing for blocks that had not come yet."""
    blocks = [(seen[at:at + 4096], whole[at:at + 4096]) for at in range(0, len(seen), 4096)]
    return len(seen) <= len(whole) and all(part == want[:len(part)] or not part.strip(b"\0") for part, want in blocks)


def judge_new(name, path, wholes, outcome, promised):
    """A file that was written once, and what may have been written: all of it where that
    was promised, else any beginning."""
    try:
        seen = path.read_bytes()
    except OSError as error:
        text = f"{name}: {error.strerror}"
        if promised:
            outcome.unreadable.append(text)
            outcome.lost.append(text)
        else:
            outcome.never_synced[path] = text
        return
    if promised:
        if seen not in wholes:
            outcome.lost.append(f"{name}: {len(seen)} bytes, not those that were synced")
        return
    if not any(is_beginning(seen, whole) for whole in wholes):
        outcome.wrong.append(f"{name}: bytes that nobody wrote")


class Editor(Load):
    """New contents into a temporary file, fsync, rename over the old; the directory is
    synced after every other save. Each save is of one of the files, chosen by the seed."""

    name = "editor's saves"
    group = "files"

    def __init__(self, seed, _home):
        super().__init__()
        self.seed = seed
        # The versions that each name may have: the last one that is sure and those after.
        self.versions = {number: [f"{seed} first {number}"] for number in range(NAMES)}
        self.run_seed = ""

    def names(self):
        """Every fifth is long, and that differs from a short one in keepfs."""
        long = " with a long name" * (5 if "long names" in self.lacks else 13)
        return [f"document {number}" + (long if number % 5 == 0 else "") for number in range(NAMES)]

    @staticmethod
    def data(key):
        return contents(key, int(2 ** random.Random(f"{key} length").uniform(0, 17)))

    def lay_out(self, top):
        for number, name in enumerate(self.names()):
            store(top / name, self.data(self.versions[number][-1]))
        sync_directory(top)

    def choice(self, step):
        pick = random.Random(f"{self.run_seed} {step}")
        return pick.randrange(NAMES), f"{self.run_seed} {step}"

    def start(self, top, seed):
        self.run_seed = seed
        names = self.names()

        def work(done):
            step = 0
            while True:
                step += 1
                number, key = self.choice(step)
                store(top / "saving.tmp", self.data(key))
                os.rename(top / "saving.tmp", top / names[number])
                if step % 2 == 0:
                    sync_directory(top)
                done(step)

        self.children = [Child(work)]

    def verify(self, top, outcome):
        steps = self.children[0].steps
        for step in range(1, steps + 2):
            number, key = self.choice(step)
            self.versions[number].append(key)
            if step <= self.children[0].promised() and (step % 2 == 0 or self.daemon_only):
                # That sync was of the whole directory.
                touched = [number] if self.daemon_only else range(NAMES)
                for each in touched:
                    self.versions[each] = self.versions[each][-1:]
        names, listed = self.names(), set(os.listdir(top))
        for name in listed - set(names) - {"saving.tmp"}:
            outcome.wrong.append(f"{name}: nobody made it")
        if "saving.tmp" in listed:
            # A cut may also take back the last renames.
            wholes = [self.data(self.choice(step)[1])
                      for step in range(max(1, self.children[0].promised() - 1), steps + 2)]
            judge_new("saving.tmp", top / "saving.tmp", wholes, outcome, False)
        for number, name in enumerate(names):
            self.judge(name[:24], top / name, number, outcome)

    def judge(self, name, path, number, outcome):
        try:
            seen = path.read_bytes()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                outcome.unreadable.append(f"{name}: {error.strerror}")
            outcome.lost.append(f"{name}: {error.strerror}")
            return
        for key in self.versions[number]:
            if seen == self.data(key):
                self.versions[number] = [key]
                return
        outcome.lost.append(f"{name}: {len(seen)} bytes, none of its {len(self.versions[number])} versions")


class Tree(Load):
    """Groups of new files in new directories. Every other group is synced, files and
    directories, before it is acknowledged."""

    name = "unpacking"
    group = "files"

    def __init__(self, seed, _home):
        super().__init__()
        self.seed = seed
        self.run_seed = ""
        self.run = 0

    def lay_out(self, top):
        pass

    def files(self, group):
        pick = random.Random(f"{self.run_seed} {group}")
        return {
            f"{pick.choice(('file', 'x' * (100 if 'long names' in self.lacks else 190)))}{number}": contents(f"{self.run_seed} {group} {number}", int(2 ** pick.uniform(0, 16)))
            for number in range(GROUP)
        }

    def place(self, top, group):
        return top / f"tree{self.run}-{group}"

    def start(self, top, seed):
        self.run_seed = seed
        self.run += 1

        def work(done):
            group = 0
            while True:
                group += 1
                place = self.place(top, group)
                place.mkdir()
                for name, data in self.files(group).items():
                    store(place / name, data, group % 2 == 0)
                if group % 2 == 0:
                    sync_directory(place)
                    sync_directory(top)
                done(group)

        self.children = [Child(work)]

    def verify(self, top, outcome):
        steps = self.children[0].steps
        for group in range(1, steps + 2):
            place = self.place(top, group)
            promised = group <= self.children[0].promised() and group % 2 == 0
            try:
                listed = set(os.listdir(place))
            except FileNotFoundError:
                listed = set()
            except OSError as error:
                outcome.unreadable.append(f"{place.name}: {error.strerror}")
                listed = set()
            files = self.files(group)
            for name in listed - set(files):
                outcome.wrong.append(f"{place.name}/{name[:24]}: nobody made it")
            for name in set(files) - listed if promised else ():
                outcome.lost.append(f"{place.name}/{name[:24]}: it is gone")
            for name in listed & set(files):
                judge_new(f"{place.name}/{name[-24:]}", place / name, [files[name]], outcome, promised)
