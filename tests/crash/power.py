"""Power cuts: the file system under the backing is shut down without a flush of its log,
so that what was not synced is gone, and what was synced is all there is."""

import ctypes
import fcntl
import os
import random
import shutil
import signal
import struct
import time

import libc
from report import Broken, Progress, Tally, say, tallies_table
from systems import SYSTEMS, demand, mounted
from trial import Trial, kinds_of

# _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same.
IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("<I", 2)
# Blocks of 4 KiB, as large disks have them: small images would get smaller ones, and a
# page would then be written in parts. mkfs.xfs makes none smaller than 300 MiB.
FILE_SYSTEMS = {
    "ext4": (256, ["mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
    "xfs": (320, ["mkfs.xfs", "-q"]),
}
PR_SET_PDEATHSIG = 1


def shut_down(place):
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, IOC_SHUTDOWN, NO_LOG_FLUSH)
    finally:
        os.close(handle)


def copy(source, target):
    demand(["cp", "--sparse=always", "--reflink=auto", source, target])


class Disk:
    """A file system in an image."""

    def __init__(self, home, image):
        self.place, self.image = home / "disk", image
        self.place.mkdir(exist_ok=True)

    def mount(self):
        demand(["mount", "-o", "loop", self.image, self.place])

    def unmount(self):
        if not mounted(self.place):
            return
        # Somebody may still hold what has just ended.
        for attempt in range(100):
            try:
                demand(["umount", self.place])
                return
            except Broken:
                if attempt == 99:
                    raise
                time.sleep(0.05)

    def sync(self):
        handle = os.open(self.place, os.O_RDONLY)
        try:
            libc.syncfs(handle)
        finally:
            os.close(handle)


class Flusher:
    """Writes random pages of the backing out, as a kernel may at any time and in any order."""

    def __init__(self, backing, seed):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                self.live(backing, random.Random(seed))
            finally:
                os._exit(0)

    @staticmethod
    def live(backing, pick):
        files = []
        while True:
            if not files or pick.random() < 0.02:
                files = [path for path in backing.rglob("*") if path.is_file()]
            path = pick.choice(files)
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    pages = os.fstat(handle).st_size // 4096 + 1
                    for _ in range(pick.randrange(1, 8)):
                        libc.sync_file_range(handle, pick.randrange(pages) * 4096, 4096 * pick.choice((1, 1, 2, 8)))
                finally:
                    os.close(handle)
            except FileNotFoundError:
                files = []
            except OSError:
                return
            time.sleep(pick.uniform(0, 0.002))

    def stop(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


class Row:
    """One system on one file system under one load. Every run begins with a copy of the same
    image, in which everything is laid out."""

    def __init__(self, options, fs, system, kind, base):
        self.options, self.kind, self.system = options, kind, SYSTEMS[system]
        self.tally = Tally(system=system, file_system=fs, load=kind.name)
        self.broken = []
        slug = kind.name.replace(" ", "-").replace(",", "").replace("'", "")
        self.home = options.work / f"{fs}-{system}-{slug}"
        self.home.mkdir()
        self.seed = f"{options.seed} {fs} {kind.name}"
        self.base = base
        self.image = self.home / "laid-out.img"

    def trial(self, disk):
        load = self.kind(self.seed, self.home)
        load.daemon_only = False
        return Trial(self.system(self.home, disk.place / "vault", self.options), load)

    def lay_out(self):
        copy(self.base, self.image)
        disk = Disk(self.home, self.image)
        trial = self.trial(disk)
        disk.mount()
        try:
            trial.begin()
            disk.sync()
        finally:
            trial.clean_up()
            disk.unmount()

    def run(self, number):
        try:
            if not self.image.exists():
                self.lay_out()
        except (Broken, OSError) as broken:
            self.fail(f"it cannot be laid out: {broken}")
            return
        image = self.home / f"run-{number}.img"
        copy(self.image, image)
        disk = Disk(self.home, image)
        trial = self.trial(disk)
        flusher = None
        pick = random.Random(f"{self.seed} {number} moment")
        disk.mount()
        try:
            if number % 2 == 0:
                flusher = Flusher(disk.place / "vault", f"{self.seed} {number}")

            def cut():
                trial.load.note_promises()
                shut_down(disk.place)
                if flusher:
                    flusher.stop()
                trial.system.kill()

            trial.work_until(pick.uniform(*self.options.seconds), f"{self.seed} {number} work", cut)
            disk.unmount()
            disk.mount()
            outcome = trial.look()
            self.tally.add(outcome, trial.load.acknowledged(), f"run {number}")
        except (Broken, OSError) as broken:
            self.fail(f"run {number}: {broken}")
        finally:
            if flusher:
                flusher.stop()
            trial.clean_up()
            disk.unmount()
            image.unlink()


    def fail(self, text):
        self.broken.append(f"{', '.join(self.tally.labels.values())}: {text}")
        say(f"FAILED {self.broken[-1]}")


class Power:
    """All rows, a run of each in turn."""

    def __init__(self, options):
        if os.getuid() != 0:
            raise Broken("--power needs root: it mounts images")
        self.options = options
        self.bases = {}
        self.rows = [
            Row(options, fs, system, kind, options.work / f"{fs}.img")
            for fs in options.fs for kind in kinds_of(options.load) for system in options.system
        ]

    def make_file_systems(self):
        for fs in self.options.fs:
            image = self.options.work / f"{fs}.img"
            size, mkfs = FILE_SYSTEMS[fs]
            with open(image, "xb") as file:
                file.truncate(size << 20)
            demand([*mkfs, image])
            self.prove_cut(fs, image)

    def prove_cut(self, fs, image):
        """A cut takes what was not synced, and leaves what was: else the runs prove nothing."""
        home = self.options.work / f"prove-{fs}"
        home.mkdir()
        copy(image, home / "run.img")
        disk = Disk(home, home / "run.img")
        disk.mount()
        try:
            for name, synced in (("synced", True), ("kept", True), ("kept", False), ("new", False)):
                with open(disk.place / name, "wb") as file:
                    file.write(name.encode() + (b" synced" if synced else b" not synced"))
                    file.flush()
                    if synced:
                        os.fsync(file.fileno())
            shut_down(disk.place)
            disk.unmount()
            disk.mount()
            left = {path.name: path.read_bytes() for path in disk.place.iterdir() if path.is_file()}
        finally:
            disk.unmount()
        if left.get("synced") != b"synced synced" or left.get("kept") == b"kept not synced" or left.get("new"):
            raise Broken(f"{fs}: the shutdown ioctl is no power cut here: it left {left}")
        shutil.rmtree(home)

    def run(self):
        self.make_file_systems()
        total = self.options.power * len(self.rows)
        progress = Progress(total)
        for number in range(self.options.power):
            for position, row in enumerate(self.rows):
                row.run(number)
                bad = sum(each.tally.counts["lost"] for each in self.rows if each.system.name == "keepfs")
                progress.show(number * len(self.rows) + position + 1, f"power cuts; runs of keepfs with bytes lost {bad}")
        return self.result()

    def result(self):
        tallies = [row.tally for row in self.rows]
        print(tallies_table(tallies))
        print()
        for tally in tallies:
            for example in tally.examples[:2]:
                print(f"{', '.join(tally.labels.values())}: {example['where']}: " + "; ".join(example["what"][:2]))
        # The others are there to compare; what runs without encryption proves the test.
        judged = [row for row in self.rows if row.system.name in ("keepfs", "none")]
        if any(row.tally.bad() for row in self.rows if row.system.name == "none"):
            print("\nVOID the control without encryption is not clean: none of these figures counts")
        broken = [text for row in self.rows for text in row.broken]
        return {
            "passed": not any(row.tally.bad() or row.broken for row in judged),
            "rows": [tally.plain() for tally in tallies],
            "broken": broken,
        }
