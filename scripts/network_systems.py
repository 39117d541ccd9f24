"""Backings over a network on loopback, and the file systems that are laid upon them:
mounted, counted and taken off again. For scripts/bench-network and scripts/test-network.
"""

import collections
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
WAIT = 60

# Requests of SFTP version 3 by their numbers, and how the tables call them.
SFTP = {
    3: "open", 4: "close", 5: "read", 6: "write", 7: "lstat", 8: "fstat", 9: "setstat",
    10: "fsetstat", 11: "opendir", 12: "readdir", 13: "remove", 14: "mkdir", 15: "rmdir",
    16: "realpath", 17: "stat", 18: "rename", 19: "readlink", 20: "symlink",
    200: "extended",
}


class Failed(Exception):
    """Something outside of what is measured did not work."""


def run(command, stdout=subprocess.PIPE, **options):
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.STDOUT,
                          timeout=WAIT, **options)
    if done.returncode != 0:
        said = (done.stdout or b"").decode(errors="replace")
        raise Failed(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout


def is_mounted(point):
    """Asks the list of mounts and not the mount, which may hang."""
    with open("/proc/self/mountinfo", "rb") as mounts:
        return any(line.split()[4] == os.fsencode(point) for line in mounts)


def until(holds, what):
    """Waits for `holds()`, within bounds."""
    end = time.monotonic() + WAIT
    while not holds():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come about within {WAIT} s")
        time.sleep(0.01)


def take_off(point):
    """Unmounts; a daemon that has just lost its own mount may still be ending, and
    hold this one until then."""
    def taken():
        subprocess.run(["fusermount3", "-u", str(point)], stderr=subprocess.DEVNULL,
                       timeout=WAIT, check=False)
        return not is_mounted(point)

    until(taken, f"the end of the mount {point}")


class Sshfs:
    """sshfs with a server on the same machine: the SFTP requests are counted between
    the two. No SSH in between, which would encrypt them and change nothing else."""

    name = "sshfs"
    counts_what = "SFTP requests"
    has_links = True

    def __init__(self, work, delay=0.0):
        self.server = work / "server"
        self.point = work / "backing"
        self.counts = work / "counts"
        self.command = work / "sftp"
        self.counts.write_bytes(bytes(256 * 8))
        program = next(path for path in ("/usr/lib/openssh/sftp-server",
                                         "/usr/lib/sftp-server") if os.path.exists(path))
        # sshfs adds host and subsystem, which mean nothing here.
        self.command.write_text(
            "#!/bin/sh\n"
            f"exec '{sys.executable}' '{SCRIPTS}/sftp_count.py' '{self.counts}' {delay} {program}\n")
        self.command.chmod(0o700)
        self.server.mkdir()
        self.point.mkdir()

    def mount(self):
        run(["sshfs", "-o", f"ssh_command={self.command}", f"loopback:{self.server}",
             str(self.point)])

    def unmount(self):
        take_off(self.point)

    def counted(self):
        values = struct.unpack("<256Q", self.counts.read_bytes())
        return collections.Counter(
            {SFTP.get(kind, str(kind)): value
             for kind, value in enumerate(values) if value and kind >= 3})


class Rclone:
    """rclone's mount of a remote of the kind `local`: the kernel's requests are counted
    in its log."""

    name = "rclone"
    counts_what = "requests to its mount"
    has_links = False
    # Housekeeping that no operation asks for.
    UNCOUNTED = {"Forget", "BatchForget", "Init", "Destroy", "Interrupt"}

    def __init__(self, work, delay=0.0):
        del delay
        self.server = work / "server"
        self.point = work / "backing"
        self.cache = work / "cache"
        self.log = work / "rclone.log"
        self.config = work / "rclone.conf"
        self.config.write_text(f"[loopback]\ntype = alias\nremote = {self.server}\n")
        self.server.mkdir()
        self.point.mkdir()
        self.log.touch()

    def mount(self):
        run(["rclone", "--config", str(self.config), "mount", "loopback:", str(self.point),
             "--vfs-cache-mode", "writes", "--cache-dir", str(self.cache), "--daemon",
             "--debug-fuse", "--log-level", "DEBUG", "--log-file", str(self.log)],
            # The daemon would keep a pipe open.
            stdout=subprocess.DEVNULL)
        until(lambda: is_mounted(self.point), "rclone's mount")

    def unmount(self):
        take_off(self.point)

    def counted(self):
        found = collections.Counter(
            match.decode() for match in re.findall(rb"fuse: <- (\w+)", self.log.read_bytes()))
        return collections.Counter(
            {kind: count for kind, count in found.items() if kind not in self.UNCOUNTED})


KINDS = {kind.name: kind for kind in (Sshfs, Rclone)}


def end_in_order():
    """A signal to end unwinds the program, so that it takes its mounts down."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def settled(backing):
    """The counts, once the last requests of what was done have come in."""
    before = None
    while True:
        now = backing.counted()
        if now == before:
            return now
        before = now
        time.sleep(0.3)


class Plain:
    """The backing itself."""

    name = "backing alone"

    def __init__(self, work):
        del work

    def make(self, root):
        (root / "plain").mkdir()

    def mount(self, root):
        return root / "plain"

    def finish(self):
        pass

    def unmount(self):
        pass


class Gocryptfs:
    """gocryptfs with its defaults; the cost of its passphrase is no matter here."""

    name = "gocryptfs"

    def __init__(self, work):
        self.point = work / "gocryptfs"
        self.passfile = work / "gocryptfs.pass"
        self.passfile.write_text("a passphrase for a benchmark\n")
        self.point.mkdir()

    def make(self, root):
        vault = root / "gocryptfs"
        vault.mkdir()
        run(["gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", str(self.passfile),
             str(vault)])

    def mount(self, root):
        run(["gocryptfs", "-q", "-passfile", str(self.passfile), str(root / "gocryptfs"),
             str(self.point)])
        return self.point

    def finish(self):
        pass

    def unmount(self):
        take_off(self.point)


class Keepfs:
    """keepfs, opened by a key file; with its defaults unless `options` says otherwise."""

    name = "keepfs"

    def __init__(self, work, program, options=()):
        self.program = program
        self.options = options
        self.point = work / "keepfs"
        self.keyfile = work / "key"
        self.keyfile.write_bytes(b"a key file for a benchmark")
        self.environment = os.environ | {"XDG_STATE_HOME": str(work / "state")}
        self.point.mkdir()

    def keepfs(self, *arguments):
        return run([self.program, *arguments], env=self.environment)

    def make(self, root):
        self.keepfs("init", "--keyfile", self.keyfile, root / "keepfs")

    def mount(self, root):
        self.keepfs("mount", *self.options, "--keyfile", self.keyfile, root / "keepfs", self.point)
        return self.point

    def finish(self):
        """Until what waits in the journal is in its place."""
        while any(mount["open_for_writing"] for mount in json.loads(
                self.keepfs("status", "--json", self.point))["mounts"]):
            time.sleep(0.1)

    def unmount(self):
        self.keepfs("unmount", self.point)

    def check(self, root):
        return self.keepfs("check", "--keyfile", self.keyfile, root / "keepfs")
