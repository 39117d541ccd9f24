"""Random work on both devices at once while the client runs, and the proof that nothing
of it was lost.

Every file holds lines of one token, which no other file ever gets. Whatever overwrites,
cuts or deletes contents notes the token it is about to destroy. So what was never
noted must be on both devices in the end, and a file in which two tokens meet is a
mixture of two versions.
"""

import errno
import os
import random
import threading
import time
from collections import Counter

import trees
from device import Broken, say, until
from look import conflict_of

TOP = "busy"
LINE = 64
# Names that both devices use, in both forms.
FILES = ["alpha.txt", "beta", "gamma.odt", "d" * 79, "e" * 128, "f" * 180 + ".tar.gz", "g" * 255]
DIRECTORIES = ["one", "two.d", "h" * 140, "i" * 255]
# No directory lies deeper: paths must stay below PATH_MAX, also those of ciphertext.
DEEPEST = 7
# Beyond this many entries a device removes more than it makes.
ENOUGH = 150


class Ledger:
    """What both devices did to which token."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "w", encoding="utf-8")
        self.began = time.monotonic()
        self.number = 0
        self.created = {}
        self.touched = set()
        self.counts = Counter()
        self.errors = Counter()

    def token(self, device):
        with self.lock:
            self.number += 1
            return f"{device}-{self.number:06d}"

    def touch(self, tokens):
        with self.lock:
            self.touched |= set(tokens)

    def note(self, device, what, outcome, *details):
        with self.lock:
            self.counts[what] += 1
            if outcome != "ok":
                self.errors[f"{what} {outcome}"] += 1
            words = " ".join(trees.short(str(each)) for each in details)
            self.file.write(f"{time.monotonic() - self.began:8.3f} {device} {what} {words}: {outcome}\n")

    def close(self):
        self.file.close()


def lines_of(token, count):
    return b"".join(f"{token} {number:06d} ".ljust(LINE - 1, ".").encode() + b"\n" for number in range(count))


def tokens_of(content):
    """The tokens of all lines; of a broken line, its bytes."""
    found = set()
    for at in range(0, len(content), LINE):
        found.add(content[at:at + LINE].split(b" ")[0].decode("latin-1")[:24])
    return found


class Actor(threading.Thread):
    """Somebody at work on one device."""

    def __init__(self, device, ledger, seed, stop, gate, client):
        super().__init__(name=device.name)
        self.device = device
        self.ledger = ledger
        self.random = random.Random(f"{seed} {device.name}")
        self.stop = stop
        # Held while the client must not be disturbed.
        self.gate = gate
        self.newer_wins = client.newer_wins
        self.files_of_both = FILES + ["D" * client.longest_name]
        self.padding = client.longest_name - len("right-00000")
        self.top = device.mount_point / TOP
        self.unique = 0
        self.crash = None
        self.deeds = [
            (self.create, 8), (self.create_shared, 6), (self.append, 6), (self.overwrite, 5),
            (self.rewrite, 3), (self.replace, 5), (self.truncate, 2), (self.rename_file, 6),
            (self.rename_directory, 4), (self.make_directory, 5), (self.remove_file, 4),
            (self.remove_directory, 1), (self.remove_tree, 1), (self.link, 2 * client.carries_links),
            (self.resolve, 3), (self.read, 4),
        ]

    def run(self):
        try:
            while not self.stop.is_set():
                with self.gate:
                    self.act()
                self.stop.wait(self.random.uniform(0, 0.12))
        except Exception as error:
            self.crash = error

    def act(self):
        self.directories, self.files, self.links = ["."], [], []
        try:
            self.look(".")
        except OSError as error:
            self.ledger.note(self.device.name, "look", errno.errorcode.get(error.errno), "")
        deeds, weights = zip(*self.deeds)
        deed = self.random.choices(deeds, weights)[0]
        if len(self.files) > ENOUGH and self.random.random() < 0.5:
            deed = self.random.choice([self.remove_file, self.remove_tree])
        self.details = []
        outcome = "ok"
        try:
            deed()
        except IndexError:
            return  # Nothing there to choose from.
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, str(error.errno))
        self.ledger.note(self.device.name, deed.__name__, outcome, *self.details)

    def look(self, path):
        with os.scandir(self.top / path) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}"
                if entry.is_symlink():
                    self.links.append(below)
                elif entry.is_dir(follow_symlinks=False):
                    self.directories.append(below)
                    try:
                        self.look(below)
                    except OSError:
                        pass
                else:
                    self.files.append(below)

    # ---- choices ----

    def pick(self, paths):
        chosen = self.random.choice(paths)
        self.details.append(chosen)
        return self.top / chosen

    def own(self, paths):
        """Conflict copies are moved and deleted; changing them, and what is in copies of
        directories, is left to other tests: clients keep no second copy of a conflict copy, and
        Unison makes names of copies of copies until they are too long for any file system."""
        return [path for path in paths if not any(conflict_of(part) for part in path.split("/"))]

    def own_files(self):
        return self.own(self.files)

    def fresh_name(self):
        self.unique += 1
        tail = self.random.choice(["", ".txt", "x" * self.padding, "y" * 180, "z" * 230])
        return f"{self.device.name}-{self.unique:05d}{tail}"

    def place(self, shared, share, height=0):
        """A path in some directory, under a name of both devices or one of its own, for
        something that is so many directories high."""
        directory = self.random.choice([path for path in self.own(self.directories) if path.count("/") + height < DEEPEST])
        name = self.random.choice(shared) if self.random.random() < share else self.fresh_name()
        self.details.append(f"{directory}/{name}")
        return self.top / directory / name

    def amount(self):
        return self.random.choice([1, 2, 5, 60, 64, 65, 200, 700])

    def held(self, path):
        """Notes that the contents of `path` are about to go."""
        with open(path, "rb") as file:
            self.ledger.touch(tokens_of(file.read()))

    # ---- deeds ----

    def create(self):
        path = self.place([], 0)
        token = self.ledger.token(self.device.name)
        with open(path, "xb") as file:
            file.write(lines_of(token, self.amount()))
        with self.ledger.lock:
            self.ledger.created[token] = str(path)
        self.details.append(token)

    def create_shared(self):
        path = self.place(self.files_of_both, 1)
        token = self.ledger.token(self.device.name)
        with open(path, "xb") as file:
            file.write(lines_of(token, self.amount()))
        self.details.append(token)

    def append(self):
        path = self.pick(self.own_files())
        with open(path, "r+b") as file:
            start = file.read(LINE)
            if not start:
                return
            token = start.split(b" ")[0].decode("latin-1")
            file.seek(0, os.SEEK_END)
            file.write(lines_of(token, self.amount()))

    def overwrite(self):
        path = self.pick(self.own_files())
        token = self.ledger.token(self.device.name)
        self.details.append(token)
        with open(path, "r+b") as file:
            content = file.read()
            self.ledger.touch(tokens_of(content))
            file.seek(0)
            file.write(lines_of(token, len(content) // LINE))

    def rewrite(self):
        path = self.pick(self.own_files())
        token = self.ledger.token(self.device.name)
        self.details.append(token)
        self.held(path)
        with open(path, "wb") as file:
            file.write(lines_of(token, self.amount()))

    def replace(self):
        path = self.pick(self.own_files())
        token = self.ledger.token(self.device.name)
        self.details.append(token)
        self.held(path)
        new = path.with_name(self.fresh_name())
        with open(new, "xb") as file:
            file.write(lines_of(token, self.amount()))
        os.replace(new, path)

    def truncate(self):
        path = self.pick(self.own_files())
        with open(path, "r+b") as file:
            content = file.read()
            length = self.random.randrange(len(content) // LINE + 1) * LINE
            if not length:
                self.ledger.touch(tokens_of(content))
            file.truncate(length)

    def rename_file(self):
        path = self.pick(self.files)
        target = self.place(self.files_of_both, 0.3)
        if target.exists():
            self.held(target)
        os.rename(path, target)
        self.came(target)

    def came(self, path):
        """What is at a path now shall not be older than what was there."""
        if self.newer_wins:
            for each in [path, *path.rglob("*")]:
                os.utime(each, follow_symlinks=False)

    def rename_directory(self):
        path = self.random.choice(self.directories[1:])
        self.details.append(path)
        below = [each.count("/") for each in self.directories if each.startswith(f"{path}/")]
        height = max(below, default=path.count("/")) - path.count("/") + 1
        target = self.place(DIRECTORIES, 0.5, height)
        os.rename(self.top / path, target)
        self.came(target)

    def make_directory(self):
        os.mkdir(self.place(DIRECTORIES, 0.6, 1))

    def remove_file(self):
        path = self.pick(self.files + self.links)
        if not path.is_symlink():
            self.held(path)
        os.unlink(path)

    def remove_directory(self):
        os.rmdir(self.pick(self.directories[1:]))

    def remove_tree(self):
        self.remove(self.pick(self.directories[1:]))

    def remove(self, path):
        with os.scandir(path) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                self.remove(entry.path)
                continue
            if not entry.is_symlink():
                self.held(entry.path)
            os.unlink(entry.path)
        os.rmdir(path)

    def link(self):
        path = self.place(self.files_of_both, 0.3)
        os.symlink(f"to {self.fresh_name()}", path)

    def resolve(self):
        """Puts a conflict copy in the place of the original, or throws it away."""
        copies = [path for path in self.files if conflict_of(path.rpartition("/")[2])]
        path = self.pick(copies)
        if self.random.random() < 0.3:
            self.held(path)
            os.unlink(path)
            return
        original = path.with_name(conflict_of(path.name)[0])
        if original.exists():
            self.held(original)
        os.rename(path, original)
        self.came(original)

    def read(self):
        with open(self.pick(self.files), "rb") as file:
            file.read()


def contents(device):
    """token -> a path that holds it; and the files in which tokens meet."""
    held, mixed = {}, []
    for path, entry in trees.tree(device.mount_point / TOP).items():
        if entry[0] == "file":
            found = tokens_of(entry[1])
            held.update((token, path) for token in found)
            if len(found) > 1:
                mixed.append(f"{device.name}: {trees.short(path)} holds {sorted(found)}")
    return held, mixed


def act(trial):
    """`trial` has the options, the two devices and the client."""
    client, options = trial.client, trial.options
    ledger = Ledger(trial.home / "activity.log")
    (trial.left.mount_point / TOP).mkdir()
    if not client.carries_empty_directories:
        (trial.left.mount_point / TOP / "keep").write_bytes(lines_of("keep", 1))
    if not client.two_way:
        client.turn(trial.left, trial.right)
    client.settle()
    stop, gate = threading.Event(), threading.Lock()
    end = time.monotonic() + options.minutes * 60
    actors = [Actor(device, ledger, options.seed, stop, gate if client.alone else threading.Lock(), client)
              for device in trial.devices]
    try:
        if client.two_way:
            together(client, actors, stop, gate, end)
        else:
            in_turns(trial, ledger, actors, end)
    finally:
        stop.set()
        for actor in actors:
            if actor.ident is not None:
                actor.join()
    for actor in actors:
        if actor.crash:
            raise actor.crash
    ledger.close()
    say(f"{client.name}: " + ", ".join(f"{count} {what}" for what, count in sorted(ledger.counts.items())))
    say(f"{client.name}: refused meanwhile: " + (", ".join(f"{count} {what}" for what, count in sorted(ledger.errors.items())) or "nothing"))
    prove(trial, ledger)


def together(client, actors, stop, gate, end):
    for actor in actors:
        actor.start()
    while time.monotonic() < end and all(actor.is_alive() for actor in actors):
        if client.alone:
            with gate:
                for actor in actors:
                    actor.device.quiet()
                client.pulse()
        else:
            client.pulse()
        stop.wait(min(3, max(0, end - time.monotonic())))


def in_turns(trial, ledger, actors, end):
    """A one-way client: one device is at work for some seconds, then the other."""
    number = 0
    while time.monotonic() < end:
        busy, idle = trial.devices if number % 2 == 0 else trial.devices[::-1]
        stop = threading.Event()
        actor = Actor(busy, ledger, f"{trial.options.seed} {number}", stop, threading.Lock(), trial.client)
        # Names of its own go on where the last turn ended.
        actor.unique = 1000 * (number + 1)
        trial.client.turn(busy, idle)
        actor.start()
        for _ in range(6):
            stop.wait(1)
            trial.client.pulse()
        stop.set()
        actor.join()
        if actor.crash:
            raise actor.crash
        trial.client.settle()
        # What the idle device's mount believes is a second old at most.
        until(lambda: trees.tree(busy.mount_point / TOP) == trees.tree(idle.mount_point / TOP), 5, pause=0.3)
        number += 1
    actors.clear()


def prove(trial, ledger):
    """Nothing that was there at the end of the activity, or created and never touched
    since, is missing on either device."""
    wanted = {}
    for device in trial.devices:
        held, _ = contents(device)
        wanted.update(held)
    wanted.update(ledger.created)
    wanted = {token: path for token, path in wanted.items() if token not in ledger.touched}
    trial.client.settle()
    wrong = []

    def missing():
        wrong.clear()
        for device in trial.devices:
            held, mixed = contents(device)
            wrong.extend(mixed)
            wrong.extend(f"{device.name}: lost {token}, last seen as {trees.short(path)}"
                         for token, path in sorted(wanted.items()) if token not in held)
        return bool(wrong)

    if not until(lambda: not missing(), 10, pause=0.5):
        raise Broken(f"{len(wrong)} losses: " + "; ".join(wrong[:12]))
    say(f"{trial.client.name}: {len(wanted)} contents that nobody destroyed are on both devices")
