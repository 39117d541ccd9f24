"""The file systems that are cut: keepfs and those beside it."""

import json
import os
import signal
import subprocess
import time

from report import Broken

PATIENCE = 60
# How much is lost according to `keepfs check`, where nothing is: an object that is not
# sealed was being written when the cut came, and says so.
NO_LOSS = {"nothing", "unproven"}


def until(condition, seconds, pause=0.003):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return any(line.split(" ")[4] == str(point) for line in lines)


def run(command, env=None, patience=PATIENCE):
    return subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, timeout=patience, check=False,
    )


def demand(command, env=None):
    done = run(command, env)
    if done.returncode != 0:
        raise Broken(f"{command[0]} {command[1]} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return done


class System:
    """A file system with its directory on the backing and its mount point."""

    name = ""
    # Of what the loads would like to use: "direct" writes of any alignment, "punch", "long names".
    lacks = frozenset()

    def __init__(self, home, backing, options):
        self.home, self.backing, self.options = home, backing, options
        self.point = home / "mnt"
        self.keyfile = home / "key"
        self.server = None
        # New files that no fsync had promised and that earlier kills left unreadable.
        self.never_synced = set()
        for path in ("mnt", "state", "run"):
            (home / path).mkdir(parents=True, exist_ok=True)
        (home / "run").chmod(0o700)
        if not self.keyfile.exists():
            self.keyfile.write_text(os.urandom(32).hex() + "\n", encoding="ascii")
        self.env = dict(
            os.environ, HOME=str(home), XDG_STATE_HOME=str(home / "state"),
            XDG_RUNTIME_DIR=str(home / "run"), LC_ALL="C.UTF-8",
        )

    def view(self):
        """Where the plain files are seen."""
        return self.point

    def init_command(self):
        raise NotImplementedError

    def mount_command(self):
        raise NotImplementedError

    def init(self):
        self.backing.mkdir()
        demand(self.init_command(), self.env)

    def spawn(self):
        """In the foreground, so that its process can be killed."""
        with open(self.home / "mount.log", "ab") as log:
            self.server = subprocess.Popen(
                [str(word) for word in self.mount_command()],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def mount(self):
        self.spawn()
        until(lambda: mounted(self.point) or self.server.poll() is not None, PATIENCE)
        if self.server.poll() is not None or not mounted(self.point):
            log = (self.home / "mount.log").read_text(errors="replace")[-400:]
            self.detach()
            raise Broken(f"{self.name} does not mount: {log}")

    def unmount(self):
        if self.server is None:
            return
        # Whoever looked last may still be letting go of it.
        if not until(lambda: run(["fusermount3", "-u", self.point]).returncode == 0, 20, pause=0.05):
            raise Broken(f"{self.name} cannot be unmounted")
        try:
            self.server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name} goes on after the unmount") from None
        self.server = None

    def kill(self):
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL)

    def detach(self):
        """Ends the server, however it is, and takes its dead mount off."""
        if self.server is not None:
            self.server.kill()
            self.server.wait(PATIENCE)
            self.server = None
        while mounted(self.point):
            demand(["fusermount3", "-u", "-z", self.point])

    def check(self, outcome):
        """Adds to `outcome` what the system itself has to say about its backing."""


class Keepfs(System):
    name = "keepfs"

    def init_command(self):
        return [self.options.keepfs, "init", "--keyfile", self.keyfile, self.backing]

    def mount_command(self):
        return [self.options.keepfs, "mount", "--foreground", "--keyfile", self.keyfile,
                *self.options.mount_options, self.backing, self.point]

    def unmount(self):
        """Also waits until everything is sealed."""
        if self.server is None:
            return
        demand([self.options.keepfs, "unmount", self.point], self.env)
        if self.server.wait(PATIENCE) != 0:
            raise Broken(f"the daemon ended with {self.server.returncode}")
        self.server = None

    def report(self, backing=None):
        done = run([self.options.keepfs, "check", "--json", "--keyfile", self.keyfile, backing or self.backing], self.env)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            raise Broken(f"check ended with {done.returncode}: {done.stderr.strip()[-400:]}") from None

    def check(self, outcome):
        status, report = self.report()
        self.never_synced |= outcome.never_synced.keys()
        for finding in report["findings"]:
            path = self.point / (finding.get("plain_path") or "")
            if finding["loss"] in NO_LOSS or path in self.never_synced:
                outcome.notes.append(finding["kind"])
            else:
                outcome.findings.append(f"{finding['kind']} {finding.get('plain_path') or finding.get('cipher_path')}: {finding['what']}")
        expected = 24 if any(each["loss"] == "unproven" or each["loss"] not in NO_LOSS for each in report["findings"]) else 0
        if status != expected or report["invalid_slots"]:
            outcome.findings.append(f"exit-code {status}, expected {expected}; {report['invalid_slots']}")


class Gocryptfs(System):
    name = "gocryptfs"
    lacks = frozenset({"punch"})

    def init_command(self):
        return ["gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", self.keyfile, self.backing]

    def mount_command(self):
        return ["gocryptfs", "-fg", "-q", "-passfile", self.keyfile, self.backing, self.point]


class Securefs(System):
    name = "securefs"
    lacks = frozenset({"punch", "direct", "long names"})

    def init_command(self):
        return ["securefs", "create", "--keyfile", self.keyfile, "--pbkdf", "pkcs5-pbkdf2-hmac-sha256",
                "-r", "1", self.backing]

    def mount_command(self):
        return ["securefs", "mount", "--keyfile", self.keyfile, self.backing, self.point]


class Plain(System):
    """No encryption: the loads run on the backing itself. What is lost here is a defect of
    the test or of the kernel's file system."""

    name = "none"
    lacks = frozenset({"direct"})

    def view(self):
        return self.backing

    def init(self):
        self.backing.mkdir()

    def mount(self):
        pass

    def unmount(self):
        pass

    def detach(self):
        pass


SYSTEMS = {kind.name: kind for kind in (Keepfs, Gocryptfs, Securefs, Plain)}
