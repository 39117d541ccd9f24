"""The five encrypted file systems that scripts/attack_peers.py attacks: how each is
made, mounted and checked, and where an object of it lies on the backing."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

PASSPHRASE = "a passphrase for tests"
# How long a mount or a program may take.
PATIENCE = 180


def mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split(" ")[4] == str(point) for line in table)


class System:
    """One file system in a directory of its own: backing, mount point, home."""

    # What is shown at the head of a column.
    title = ""
    # Bytes before the first chunk of a file, and of a stored chunk; 0 where a file is
    # not one file on the backing.
    header = slot = 0
    # Names that hold no object of the user.
    helpers = ()
    # The helper file of a renamed directory, and a command that looks at everything.
    helper = checker = None
    attributes = True
    # Where the cost of the passphrase is stated, if it can be said so.
    config = ""

    def __init__(self, work):
        self.home = work / type(self).__name__.lower()
        self.backing = self.home / "backing"
        self.point = self.home / "mnt"
        self.state = self.home / "state"
        for path in (self.backing, self.point, self.state):
            path.mkdir(parents=True)
        self.places = {}
        self.server = None
        self.env = dict(
            os.environ,
            HOME=str(self.state),
            XDG_STATE_HOME=str(self.state),
            XDG_DATA_HOME=str(self.state),
            CRYFS_FRONTEND="noninteractive",
            CRYFS_NO_UPDATE_CHECK="true",
        )
        self.passfile = self.home / "pass"
        self.passfile.write_text(PASSPHRASE + "\n", encoding="utf-8")

    # ---- commands; each system says its own ----

    def make_command(self):
        raise NotImplementedError

    def mount_command(self, strict=False):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def cheaper(self):
        """Lowers the stated cost of the passphrase."""
        raise NotImplementedError

    def dearer(self):
        """Raises the stated cost of the passphrase beyond all measure."""
        raise NotImplementedError

    # ---- running them ----

    def make(self):
        command = self.make_command()
        if command:
            self.run(command).check_returncode()

    def run(self, command, patience=PATIENCE):
        return subprocess.run(
            command,
            env=self.env,
            cwd=self.home,
            input=(PASSPHRASE + "\n").encode(),
            capture_output=True,
            timeout=patience,
            check=False,
        )

    def mount(self, strict=False, patience=PATIENCE, before=()):
        """Whether it mounted; "late" if neither that nor an end came in time."""
        with open(self.passfile, "rb") as passphrase, open(self.home / "log", "ab") as log:
            self.server = subprocess.Popen(
                [*before, *self.mount_command(strict)],
                env=self.env,
                cwd=self.home,
                stdin=passphrase,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if mounted(self.point):
                return "mounted"
            if self.server.poll() is not None:
                return "refused"
            time.sleep(0.02)
        self.server.kill()
        self.server.wait()
        return "late"

    def unmount(self):
        if self.server is None:
            return
        end = time.monotonic() + 20
        while mounted(self.point) and time.monotonic() < end:
            subprocess.run(["fusermount3", "-u", self.point], capture_output=True, check=False)
            time.sleep(0.02)
        if mounted(self.point):
            lazily = ["fusermount3", "-u", "-z", self.point]
            subprocess.run(lazily, capture_output=True, check=False)
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(5)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        self.server = None

    def check_finds(self):
        """Whether its checker finds something; None where it has none."""
        if self.checker is None:
            return None
        return self.run(self.checker).returncode != 0

    # ---- where things are ----

    def tree(self):
        found = set()
        for base, dirs, files in os.walk(self.backing):
            found.update(Path(base) / name for name in dirs + files)
        return found

    def session(self, name, work):
        """The owner does something; what is new on the backing is where NAME is."""
        before = self.tree()
        if self.mount() != "mounted":
            raise RuntimeError(f"{self.title} does not mount: see {self.home}/log")
        try:
            work(self.point)
        finally:
            self.unmount()
        new = sorted(p for p in self.tree() - before if p.name not in self.helpers)
        if name and new:
            self.places[name] = min(new, key=lambda path: len(path.parts))
            self.places[name + " all"] = [p for p in new if p.is_file()]

    def at(self, name):
        return self.places[name]

    def chunk(self, index):
        return self.header + index * self.slot


class Keepfs(System):
    title = "keepfs"
    header, slot = 128, 4136
    helpers = ("keepfs.dir",)
    helper = "keepfs.dir"
    program = "keepfs"

    def make_command(self):
        self.checker = [self.program, "check", "--json", "--passfile", self.passfile, self.backing]
        return [self.program, "init", "--passfile", self.passfile,
                "--kdf-memory", "64MiB", "--kdf-passes", "4", self.backing]

    def check_finds(self):
        report = json.loads(self.run(self.checker).stdout)
        return bool(report["findings"] or report["invalid_slots"])

    def mount_command(self, strict=False):
        return [self.program, "mount", "--foreground", "--passfile", self.passfile,
                *(["--strict"] if strict else []), self.backing, self.point]

    def version(self):
        return self.run([self.program, "--version"]).stdout.decode().split()[1]

    def _cost(self, *fields):
        (slot,) = (self.backing / "keepfs.slots").iterdir()
        raw = bytearray(slot.read_bytes())
        raw[80:92] = b"".join(field.to_bytes(4, "little") for field in fields)
        slot.write_bytes(raw)

    def cheaper(self):
        self._cost(8, 1, 1)

    def dearer(self):
        self._cost(0xFFFFFFFF, 0xFFFFFFFF, 4)


class Gocryptfs(System):
    title = "gocryptfs"
    header, slot = 18, 4128
    helpers = ("gocryptfs.diriv",)
    helper = "gocryptfs.diriv"

    def make_command(self):
        self.checker = ["gocryptfs", "-q", "-fsck", "-passfile", self.passfile, self.backing]
        return ["gocryptfs", "-q", "-init", "-passfile", self.passfile, self.backing]

    def mount_command(self, strict=False):
        return ["gocryptfs", "-q", "-fg", "-passfile", self.passfile, self.backing, self.point]

    def version(self):
        return self.run(["gocryptfs", "--version"]).stdout.decode().split()[1].rstrip(";")

    def _cost(self, work):
        path = self.backing / "gocryptfs.conf"
        stated = json.loads(path.read_text())
        stated["ScryptObject"]["N"] = work
        path.chmod(0o600)
        path.write_text(json.dumps(stated))

    def cheaper(self):
        self._cost(1 << 10)

    def dearer(self):
        self._cost(1 << 28)


class Securefs(System):
    title = "securefs"
    header, slot = 16, 4124
    attributes = False

    def make_command(self):
        return ["securefs", "create", "--pass", PASSPHRASE, self.backing]

    def mount_command(self, strict=False):
        return ["securefs", "mount", "--pass", PASSPHRASE, self.backing, self.point]

    def version(self):
        return debian_version("securefs")

    def _cost(self, passes, memory):
        path = self.backing / ".securefs.json"
        stated = json.loads(path.read_text())
        stated["iterations"], stated["argon2_m_cost"] = passes, memory
        path.write_text(json.dumps(stated))

    def cheaper(self):
        self._cost(1, 64)

    def dearer(self):
        self._cost(2_000_000_000, 3_000_000)


class Encfs(System):
    title = "encfs `--standard`"
    header, slot = 8, 1024
    mode = "--standard"

    def make_command(self):
        # Mounting makes it.
        return None

    def mount_command(self, strict=False):
        return ["encfs", self.mode, "-f", f"--extpass=cat {self.passfile}",
                self.backing, self.point]

    def version(self):
        return self.run(["encfs", "--version"]).stderr.decode().split()[-1]

    def _cost(self, passes):
        path = self.backing / ".encfs6.xml"
        text = path.read_text()
        text, count = re.subn(r"(<kdfIterations>)\d+", rf"\g<1>{passes}", text)
        assert count == 1
        path.write_text(text)

    def cheaper(self):
        self._cost(1000)

    def dearer(self):
        self._cost(2_000_000_000)


class EncfsParanoia(Encfs):
    title = "encfs `--paranoia`"
    mode = "--paranoia"


class Cryfs(System):
    title = "cryfs"
    attributes = False

    def make_command(self):
        return None

    def mount_command(self, strict=False):
        return ["cryfs", "-f", self.backing, self.point]

    def version(self):
        return self.run(["cryfs", "--version"]).stdout.decode().split()[2]

    def _cost(self, work):
        # "cryfs.config;1;scrypt" and NUL, a length, then scrypt's N as u64.
        path = self.backing / "cryfs.config"
        raw = bytearray(path.read_bytes())
        head = b"cryfs.config;1;scrypt\0"
        assert raw.startswith(head)
        at = len(head) + 8
        assert int.from_bytes(raw[at:at + 8], "little").bit_count() == 1
        raw[at:at + 8] = work.to_bytes(8, "little")
        path.write_bytes(raw)

    def cheaper(self):
        self._cost(1 << 10)

    def dearer(self):
        self._cost(1 << 28)


def debian_version(package):
    """The version of a Debian package, without Debian's own part."""
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package],
        capture_output=True, check=True,
    )
    return re.split(r"[+-]", shown.stdout.decode())[0]
