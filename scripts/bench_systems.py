"""The file systems that scripts/bench measures: made, mounted and taken off again."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE = 120


class Failed(Exception):
    """Something outside of what is measured did not work."""


def run(command, patience=PATIENCE * 5, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=patience, check=False, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command[:3]))} ended with {done.returncode}: {done.stdout[-500:]}")
    return done.stdout


def is_mounted(point):
    with open("/proc/self/mountinfo", "rb") as mounts:
        return any(line.split()[4] == os.fsencode(point) for line in mounts)


class System:
    """One file system over `home/backing`, at `home/mnt`."""

    def __init__(self, home, options):
        self.options = options
        self.backing, self.point, self.key = home / "backing", home / "mnt", home / "key"
        self.env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_RUNTIME_DIR": str(home / "run"),
                    "CRYFS_FRONTEND": "noninteractive", "CRYFS_NO_UPDATE_CHECK": "true", "CRYFS_LOCAL_STATE_DIR": str(home / "cryfs")}
        home.mkdir()
        (home / "run").mkdir(mode=0o700)
        self.backing.mkdir()
        self.point.mkdir()
        self.key.write_text("for the benchmark alone\n")
        self.server = None

    def put_backing(self, place):
        """The ciphertext goes to a directory of its own below `place`, which is returned."""
        self.backing.rmdir()
        self.backing = Path(tempfile.mkdtemp(prefix="keepfs-bench.", dir=place))
        return self.backing

    def version(self):
        """One line that names the program."""
        raise NotImplementedError

    def init(self):
        """Makes the vault."""

    def mount_command(self):
        """A command that serves in the foreground."""
        raise NotImplementedError

    def passphrase(self):
        """What the command reads from its standard input."""
        return subprocess.DEVNULL

    def mount(self):
        self.server = subprocess.Popen(self.mount_command(), stdin=self.passphrase(), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env=self.env)
        end = time.monotonic() + PATIENCE
        while not is_mounted(self.point) or not self.answers():
            if self.server.poll() is not None:
                raise Failed(f"{self.name} ended with {self.server.returncode} instead of mounting")
            if time.monotonic() > end:
                raise Failed(f"{self.name} does not mount")
            time.sleep(0.01)

    def answers(self):
        try:
            os.listdir(self.point)
            return True
        except OSError:
            return False

    def unmount(self):
        """Returns when everything is on the backing."""
        if self.server is None:
            return
        end = time.monotonic() + PATIENCE
        while is_mounted(self.point):
            subprocess.run(["fusermount3", "-u", self.point], stderr=subprocess.DEVNULL, check=False)
            if time.monotonic() > end:
                raise Failed(f"{self.name} cannot be unmounted")
            time.sleep(0.01)
        self.server.wait(PATIENCE)
        self.server = None

    def cool(self):
        """Nothing is known to the file system or the kernel afterwards."""
        self.unmount()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as knob:
            knob.write("3")
        self.mount()


class Plain(System):
    """A directory."""

    name = "plain"

    def put_backing(self, place):
        self.point = super().put_backing(place)
        return self.point

    def version(self):
        return "no file system in between"

    def mount(self):
        pass

    def unmount(self):
        pass


class Keepfs(System):
    name = "keepfs"

    def program(self):
        return self.options.keepfs

    def version(self):
        return run([self.program(), "--version"]).strip()

    def init(self):
        run([self.program(), "init", "--passfile", self.key, "--kdf-memory", "64MiB", self.backing], env=self.env)

    def mount_command(self):
        return [self.program(), "mount", "--foreground", "--passfile", self.key,
                *self.options.mount_options, self.backing, self.point]


class Ceiling(Keepfs):
    """keepfs built to copy where it should encrypt: what everything else costs."""

    name = "ceiling"
    built = None

    def program(self):
        if Ceiling.built is None:
            target = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "without-cipher"
            print("  building keepfs without a cipher", file=sys.stderr, flush=True)
            run(["cargo", "build", "--locked", "--release", "--bin", "keepfs", "--target-dir", target],
                env={**os.environ, "RUSTFLAGS": "--cfg keepfs_without_cipher"}, patience=3600)
            Ceiling.built = (target / "release" / "keepfs").resolve()
        return Ceiling.built


class Gocryptfs(System):
    name = "gocryptfs"

    def version(self):
        return run(["gocryptfs", "-version"]).splitlines()[0]

    def init(self):
        run(["gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", self.key, self.backing], env=self.env)

    def mount_command(self):
        return ["gocryptfs", "-fg", "-q", "-passfile", self.key, self.backing, self.point]


class Securefs(System):
    name = "securefs"

    def version(self):
        return "securefs " + debian_version("securefs")

    def init(self):
        run(["securefs", "create", "--keyfile", self.key, "--pbkdf", "pkcs5-pbkdf2-hmac-sha256", "-r", "1", self.backing], env=self.env)

    def mount_command(self):
        return ["securefs", "mount", "--keyfile", self.key, self.backing, self.point]


class Encfs(System):
    name = "encfs"

    def version(self):
        return "encfs " + debian_version("encfs")

    def init(self):
        run(["encfs", "--standard", "--extpass", f"cat {self.key}", self.backing, self.point], env=self.env)
        run(["fusermount3", "-u", self.point])

    def mount_command(self):
        return ["encfs", "-f", "--extpass", f"cat {self.key}", self.backing, self.point]


class Cryfs(System):
    name = "cryfs"

    def version(self):
        return "cryfs " + debian_version("cryfs")

    def passphrase(self):
        return open(self.key, "rb")

    def init(self):
        self.mount()
        self.unmount()

    def mount_command(self):
        return ["cryfs", "-f", self.backing, self.point]


def debian_version(package):
    return run(["dpkg-query", "-W", "-f", "${Version}", package])


SYSTEMS = {each.name: each for each in (Plain, Ceiling, Keepfs, Gocryptfs, Securefs, Encfs, Cryfs)}
