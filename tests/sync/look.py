"""What the two mounts show of one scenario, and what was expected of it."""

import re

import trees

CONFLICT = re.compile(
    r"^(?P<stem>.+) \[conflict (?:(?P<client>[A-Za-z ]+?) )?(?:(?P<time>\d[-\d: ]*) )?[0-9a-f]{8}\](?P<ext>\..*)?$"
)


def text(label, size=200):
    """Contents that name themselves; above one chunk of keepfs if `size` says so."""
    line = f"{label}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def first_line(content):
    return content[:40].split(b"\n")[0].decode()


def conflict_of(name):
    """(plain name, client) that the shown name of a conflict copy states, or None.
    Of a name that had to be shortened only the beginning is known."""
    found = CONFLICT.match(name)
    if found is None:
        return None
    return found["stem"] + (found["ext"] or ""), (found["client"] or "").lower()


class Look:
    """Collects what is wrong; both mounts must satisfy everything."""

    def __init__(self, scenario, client, left, right):
        self.client = client
        self.wrong = []
        self.shown = {}
        for device in (left, right):
            self.shown[device.name] = client.carried(trees.tree(device.mount_point / scenario))
        for name, entries in self.shown.items():
            self.wrong += [f"{name}: {line}" for line in trees.errors(entries)]
        self.wrong += trees.differences(*self.shown.values(), most=5)

    def _each(self):
        return self.shown.items()

    def has(self, *contents):
        """Every content is that of some file."""
        for name, entries in self._each():
            files = {entry[1] for entry in entries.values() if entry[0] == "file"}
            for content in contents:
                if content not in files:
                    self.wrong.append(f"{name}: lost: '{first_line(content)}'")

    def named(self, path, content):
        """The file of that path has that content."""
        for name, entries in self._each():
            if entries.get(path) != ("file", content):
                self.wrong.append(f"{name}: {trees.short(path)} is {trees.in_words(entries.get(path))}")

    def kept(self, path, content):
        """The same of a file that the other device deleted or moved, or whose directory it
        did: with some clients it is a conflict copy, or in one."""
        if self.client.deletion_may_win:
            self.has(content)
        else:
            self.named(path, content)

    def linked(self, path, target):
        for name, entries in self._each():
            if entries.get(path) != ("link", target):
                self.wrong.append(f"{name}: {trees.short(path)} is {trees.in_words(entries.get(path))}")

    def directory(self, path):
        if not self.client.carries_empty_directories:
            return
        for name, entries in self._each():
            if entries.get(path) != ("directory",):
                self.wrong.append(f"{name}: {path} is {trees.in_words(entries.get(path))}")

    def absent(self, *paths):
        for name, entries in self._each():
            for path in paths:
                if path in entries:
                    self.wrong.append(f"{name}: {path} is still there")

    def copies(self, path, entries):
        """The conflict copies of `path`, (name, content) each."""
        above, _, plain = path.rpartition("/")
        found = []
        for candidate, entry in entries.items():
            where, _, name = candidate.rpartition("/")
            stated = conflict_of(name)
            if where != above or stated is None:
                continue
            whole = stated[0] == plain
            shortened = len(plain.encode()) > 180 and plain.startswith(stated[0][:150])
            if whole or shortened:
                found.append((candidate, entry, stated[1]))
        return found

    def conflict(self, path, one, two):
        """Both versions are shown as the client leaves them: the original and a copy,
        or two copies."""
        for name, entries in self._each():
            copies = self.copies(path, entries)
            original = [entries[path]] if path in entries else []
            wanted_copies = 1 if self.client.keeps_original else 2
            if len(original) != 2 - wanted_copies or len(copies) != wanted_copies:
                self.wrong.append(
                    f"{name}: {trees.short(path)}: {len(original)} under its name, {len(copies)} conflict copies"
                )
            contents = {entry for _, entry, _ in copies} | set(original)
            for version in (one, two):
                if ("file", version) not in contents:
                    self.wrong.append(f"{name}: {trees.short(path)}: no version with '{first_line(version)}'")
            for shown, _, client in copies:
                if client != self.client.shown:
                    self.wrong.append(f"{name}: {trees.short(shown)} does not name {self.client.shown}")

    def no_conflict(self):
        for name, entries in self._each():
            for path in entries:
                if conflict_of(path.rpartition("/")[2]):
                    self.wrong.append(f"{name}: an unexpected conflict copy: {trees.short(path)}")
