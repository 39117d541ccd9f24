"""The sync clients that are run once for each synchronisation: rclone bisync, Unison
and rsync. Syncthing, which runs all the time, is in syncthing.py."""

import os
import re

import trees
from device import Broken, run, say

# How long one run of a client may take.
PATIENCE = 300


class Client:
    """What lies between the backings of two devices."""

    # On the command line, and as keepfs shows it in the name of a conflict copy.
    name = shown = ""
    # Whether both devices may be busy between two synchronisations.
    two_way = True
    # Whether the client keeps one version of a conflict under the file's own name.
    keeps_original = True
    carries_empty_directories = True
    carries_links = True
    # Whether it never puts an older file in the place of a newer one, as after `mv`.
    newer_wins = False
    # The longest name of which it can keep conflict copies of conflict copies, three deep,
    # beside those that a side file holds.
    longest_name = 127
    # Whether nothing may change while it runs.
    alone = False
    # Whether a deletion may win against a change, which then becomes a conflict copy.
    deletion_may_win = False
    # Whether it keeps both versions if two devices change a symbolic link, and copes
    # with a file on one device where the other has a directory.
    keeps_both_links = False
    keeps_file_and_directory = True

    def __init__(self, home, left, right):
        self.home = home
        self.home.mkdir()
        self.left, self.right = left, right
        self.env = dict(os.environ, HOME=str(self.home), LC_ALL="C.UTF-8")
        self.runs = 0

    def start(self):
        """Makes the devices known to each other; the backings are equal."""

    def stop(self):
        """Ends what start() began, also after a failure."""

    def offline(self):
        """From here on nothing is carried over."""

    def online(self):
        """Undoes offline()."""

    def pulse(self):
        """One synchronisation in the middle of activity. What a client says about a
        file that changes meanwhile is no failure."""

    def settle(self):
        """Synchronises until both backings are equal."""
        raise NotImplementedError

    def equal(self):
        return not self.unequal()

    def unequal(self):
        one, two = trees.backing(self.left.backing), trees.backing(self.right.backing)
        return trees.differences(self.carried(one), self.carried(two))

    def carried(self, entries):
        """What of a tree the client is able to carry."""
        if not self.carries_links:
            entries = {path: entry for path, entry in entries.items() if entry[0] != "link"}
        return entries if self.carries_empty_directories else trees.without_empty_directories(entries)

    def settle_by_runs(self, once, most=6):
        for device in (self.left, self.right):
            device.quiet()
        for _ in range(most):
            once()
            if self.equal():
                return
        raise Broken(f"{self.name}: the backings still differ after {most} runs: " + "; ".join(self.unequal()))

    def record(self, what, done):
        self.runs += 1
        with open(self.home / "log", "a", encoding="utf-8") as log:
            log.write(f"\n== {what}: {done.returncode}\n{done.stdout}{done.stderr}")


class Bisync(Client):
    """rclone bisync, both backings as local paths. Version 1.60 lists symbolic links with
    --links, does not carry them, and ends; without the option it leaves them alone."""

    name, shown = "bisync", "rclone"
    # It renames both versions.
    keeps_original = False
    carries_empty_directories = False
    carries_links = False
    # It ends if a file changes while it runs, and wants --resync, which lets the first
    # path overwrite the second.
    alone = True
    keeps_file_and_directory = False

    def command(self, *more):
        return [
            "rclone", "bisync", "--config", self.home / "config", "--workdir", self.home / "state",
            "--force", "--remove-empty-dirs", "--verbose", "--exclude", "~keepfs-*.tmp", *more,
            self.left.backing, self.right.backing,
        ]

    def start(self):
        (self.home / "config").touch()
        self.resync("first run")

    def resync(self, why):
        done = run(self.command("--resync"), self.env, PATIENCE)
        self.record(f"resync, {why}", done)
        return done

    def once(self):
        """One run. After an error rclone refuses to go on until it is told to begin anew,
        which is what its manual tells people to do."""
        done = run(self.command(), self.env, PATIENCE)
        self.record("bisync", done)
        if done.returncode != 0:
            self.resync(f"after {done.returncode}")

    def pulse(self):
        self.once()

    def settle(self):
        self.settle_by_runs(self.once)


class Unison(Client):
    """Unison without questions: first what is no conflict, then the newer version under
    the file's name and a copy of the other."""

    name = shown = "unison"
    # Each copy's name is up to 41 characters longer: from 171 of them, too long at the third.
    longest_name = 79
    keeps_both_links = True
    deletion_may_win = True

    def command(self, *more):
        return [
            "unison", self.left.backing, self.right.backing, "-ui", "text", "-batch", "-auto",
            "-copyonconflict", "-times", "-fastcheck", "false", "-confirmbigdel=false", "-ignore", "Name ~keepfs-*.tmp",
            "-logfile", self.home / "unison.log", *more,
        ]

    def __init__(self, home, left, right):
        super().__init__(home, left, right)
        self.env["UNISON"] = str(self.home / "archives")

    def once(self, *more):
        done = run(self.command(*more), self.env, PATIENCE)
        self.record("unison " + " ".join(more), done)
        # 1: conflicts were skipped; 2: some files failed, as they changed meanwhile.
        if done.returncode not in (0, 1, 2):
            raise Broken(f"unison ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")

    def start(self):
        self.once()

    def pulse(self):
        self.once("-prefer", "newer")

    def settle(self):
        """The run that skips conflicts comes first: nothing may be unreadable after it."""
        for device in (self.left, self.right):
            device.quiet()
        self.once()
        for device in (self.left, self.right):
            broken = trees.errors(trees.tree(device.mount_point))
            if broken:
                raise Broken(f"{device.name}, conflicts skipped: " + "; ".join(broken))
        self.settle_by_runs(lambda: self.once("-prefer", "newer"))


class Rsync(Client):
    """rsync from the device that was busy to the other one."""

    name = shown = "rsync"
    two_way = False
    newer_wins = True
    options = ()

    def start(self):
        self.source, self.target = self.left, self.right

    def carry(self, source, target, *more):
        done = run(
            ["rsync", "--archive", "--update", "--delete", "--modify-window=-1",
             "--exclude", "~keepfs-*.tmp", *self.options, *more,
             f"{source.backing}/", f"{target.backing}/"], self.env, PATIENCE,
        )
        self.record(f"rsync {source.name} to {target.name}", done)
        # 23 and 24: a file changed or went while it was being read.
        if done.returncode not in (0, 23, 24):
            raise Broken(f"rsync ended with {done.returncode}: {done.stderr[-800:]}")

    def pulse(self):
        self.carry(self.source, self.target)

    def settle(self):
        self.settle_by_runs(lambda: self.carry(self.source, self.target))

    def turn(self, busy, idle):
        self.source, self.target = busy, idle


class RsyncInPlace(Rsync):
    """rsync that overwrites the files where they are."""

    name = "rsync-inplace"
    options = ("--inplace", "--no-whole-file")


def version(command, pattern):
    done = run(command, dict(os.environ))
    found = re.search(pattern, done.stdout + done.stderr)
    say(found.group(0) if found else f"{command[0]}: unknown version")
