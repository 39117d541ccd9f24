"""fio writes blocks with checksums and, after the cut, verifies those that its state says
were completed."""

import os
import random
import re
import struct
import subprocess
import time

from child import Load
from model import read_blocks, BLOCK
from report import Broken
from systems import until
from writer import contents

SIZE = 6 << 20
# What each block begins with that fio wrote.
MAGIC = b"\xca\xac"


class Fio(Load):
    """Random writes in one file that is there already. With O_SYNC, or with several
    direct writes at once: either is complete when fio says so."""

    name = "fio"
    group = "writer"

    def __init__(self, seed, home):
        super().__init__()
        self.seed = seed
        self.home = home
        self.old = contents(f"{seed} fio", SIZE)
        self.process = None
        self.command = []
        self.verified = self.mtime = self.block = 0
        self.file = None

    def lay_out(self, top):
        with open(top / "blocks", "xb") as file:
            file.write(self.old)
            os.fsync(file.fileno())

    def start(self, top, seed):
        pick = random.Random(seed)
        self.file = top / "blocks"
        self.mtime = os.stat(self.file).st_mtime_ns
        state = self.home / "fio"
        state.mkdir(exist_ok=True)
        for old in state.iterdir():
            old.unlink()
        size = pick.choice(("4k", "16k", "128k"))
        self.block = int(size[:-1]) << 10
        self.command = [
            "fio", "--name=load", f"--filename={self.file}", f"--size={SIZE}", f"--bs={size}", "--rw=randwrite",
            "--verify=crc32c", "--verify_fatal=1", "--verify_interval=4096", "--fallocate=none", "--overwrite=1",
            "--allow_file_create=0", "--randrepeat=0", f"--randseed={pick.randrange(1, 1 << 31)}", f"--aux-path={state}", "--thread", "--minimal",
        ]
        if self.daemon_only and pick.randrange(2):
            engine = ["--ioengine=libaio", "--direct=1", "--iodepth=8"]
        else:
            engine = ["--ioengine=psync", "--sync=1"]
        # It may come to its end before the cut does: then all of it is verified.
        writing = [*self.command, *engine, "--do_verify=0", "--verify_state_save=1"]
        self.command += ["--ioengine=psync", "--verify_only=1", "--verify_state_load=1"]
        self.process = subprocess.Popen(writing, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=state)

    def let_run(self, seconds):
        # It takes its time to begin.
        if not until(lambda: os.stat(self.file).st_mtime_ns != self.mtime or self.process.poll() is not None, 30):
            raise Broken("fio does not begin")
        time.sleep(seconds)
        if self.process.poll() not in (None, 0):
            raise Broken(f"before the cut fio met an error: {self.process.stdout.read().decode(errors='replace')[:300]}")

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def finish(self):
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            raise Broken("fio does not notice that its file system is gone") from None
        finally:
            self.stop()

    def is_the_last(self, text):
        """Whether fio complains of its last write. As for `Child.promised`: that one may have
        been told of a success while the file system was being shut down. fio verifies in
        order, so all others are whole."""
        state = next((self.home / "fio").glob("*verify.state")).read_bytes()
        # Behind the file's header the number of completed writes kept, and as the last of
        # all the file and the offset of each; with one write at a time, of one.
        kept, = struct.unpack_from("<Q", state, 24)
        offset, = struct.unpack("<Q", state[-8:])
        found = re.search(r"offset (\d+), length", text)
        return kept == 1 and found is not None and offset <= int(found[1]) < offset + self.block

    def acknowledged(self):
        """Blocks that fio's own state said were complete; known once they are verified."""
        return self.verified

    def verify(self, top, outcome):
        self.verified = 0
        if list((self.home / "fio").glob("*verify.state")):
            done = subprocess.run(self.command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", cwd=self.home / "fio", timeout=120, check=False)
            if done.returncode != 0 and (self.daemon_only or not self.is_the_last(done.stderr)):
                outcome.lost.append(f"fio: {' '.join(done.stderr.split())[:300]}")
            # KiB read, in its terse report of version 3.
            self.verified = int(done.stdout.rpartition("3;fio-")[2].split(";")[4]) // 4
        try:
            blocks = read_blocks(top / "blocks")
        except OSError as error:
            outcome.unreadable.append(f"fio's file: {error.strerror}")
            outcome.lost.append(f"fio's file: {error.strerror}")
            return
        if len(blocks) != SIZE // BLOCK:
            outcome.lost.append(f"fio's file has {len(blocks)} blocks of {SIZE // BLOCK}")
        for number, part in enumerate(blocks):
            if not isinstance(part, bytes):
                outcome.unreadable.append(f"fio's block {number}: {part}")
                outcome.lost.append(f"fio's block {number}: {part}")
            elif part != self.old[number * BLOCK:(number + 1) * BLOCK] and not part.startswith(MAGIC):
                outcome.lost.append(f"fio's block {number}: neither the old one nor one of fio's")
        if not outcome.lost:
            self.old = b"".join(blocks)
