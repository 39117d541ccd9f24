"""A device of the synchronisation tests: its copy of the vault and its mount."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# How long a command of keepfs may take.
PATIENCE = 120


class Broken(Exception):
    """Something that must hold does not; the text says what."""


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def until(condition, seconds, pause=0.05):
    """Whether `condition` came true in time."""
    end = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(pause)


def mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split(" ")[4] == str(point) for line in table)


def run(command, env, patience=PATIENCE):
    return subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True,
        errors="replace", stdin=subprocess.DEVNULL, timeout=patience, check=False,
    )


class Device:
    """One of two devices that hold the same vault."""

    def __init__(self, name, home, keepfs, keyfile):
        self.name = name
        self.home = home / name
        self.backing = self.home / "vault"
        self.mount_point = self.home / "mnt"
        self.keepfs = keepfs
        self.keyfile = keyfile
        for path in ("mnt", "state", "run"):
            (self.home / path).mkdir(parents=True)
        (self.home / "run").chmod(0o700)
        self.env = dict(
            os.environ, HOME=str(self.home), XDG_STATE_HOME=str(self.home / "state"),
            XDG_RUNTIME_DIR=str(self.home / "run"), LC_ALL="C.UTF-8",
        )
        self.server = None

    # ---- the vault ----

    def command(self, *words):
        return run([self.keepfs, *words], self.env)

    def demand(self, *words):
        done = self.command(*words)
        if done.returncode != 0:
            raise Broken(f"{self.name}: keepfs {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def init(self):
        self.demand("init", "--keyfile", self.keyfile, self.backing)

    def copy_from(self, other):
        done = run(["cp", "-a", other.backing, self.backing], self.env)
        if done.returncode != 0:
            raise Broken(done.stderr)

    # ---- the mount ----

    def mount(self):
        """In the foreground, so that what the daemon has to say is kept."""
        with open(self.home / "mount.log", "ab") as log:
            self.server = subprocess.Popen(
                [self.keepfs, "mount", "--foreground", "--keyfile", self.keyfile,
                 self.backing, self.mount_point],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        up = until(lambda: mounted(self.mount_point) or self.server.poll() is not None, PATIENCE)
        if not up or self.server.poll() is not None:
            raise Broken(f"{self.name} does not mount: {self.log()}")

    def log(self):
        return (self.home / "mount.log").read_text(encoding="utf-8", errors="replace")

    def unmount(self):
        if self.server is None:
            return
        self.demand("unmount", self.mount_point)
        try:
            ended = self.server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name}: the daemon goes on after the unmount") from None
        self.server = None
        if ended != 0:
            raise Broken(f"{self.name}: the daemon ended with {ended}: {self.log()}")

    def abandon(self):
        """Whatever it takes to leave no mount and no process behind."""
        if self.server is None:
            return
        self.command("unmount", "--lazy", self.mount_point)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.server = None

    def quiet(self):
        """Waits until every file that was written is sealed."""
        def sealed():
            status = json.loads(self.demand("status", "--json", self.mount_point))
            return status["mounts"][0]["open_for_writing"] == 0

        if not until(sealed, 30):
            raise Broken(f"{self.name}: files stay open for writing")

    def conflict_copies(self):
        """The paths of all conflict copies, by `keepfs conflicts`."""
        report = json.loads(self.demand("conflicts", "--json", "--keyfile", self.keyfile, self.backing))
        return {copy["path"] for each in report["conflicts"] for copy in each["copies"]}

    def findings(self):
        """What `keepfs check` ends with and finds."""
        done = self.command("check", "--json", "--keyfile", self.keyfile, self.backing)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise Broken(f"{self.name}: check ended with {done.returncode}: {done.stderr.strip()}") from None
        return done.returncode, report["findings"]
