"""What a scenario is: something that two devices do to the same vault while they do not
see each other, and what both must show once the client has carried everything over.
on_files.py and on_directories.py have them.

Each works in a directory of its own, called after it. `before` is carried to
both devices first; `left` and `right` happen at the same time, out of touch; `expect`
judges. A scenario with `then` goes on: that happens on the left device, is carried
over, and `expect_then` judges.
"""

import os

from look import text

# Lengths around the two forms of names (127 is the longest short one), and the longest.
NAMES = {
    "plain": "report.odt",
    "bare": "noext",
    "short": "s" * 123 + ".txt",
    "long": "l" * 124 + ".txt",
    "longer": "m" * 200,
    "longest": "n" * 251 + ".txt",
}


class Scenario:
    # Why a client is left out, if so.
    without = {}

    def __init__(self):
        self.name = type(self).__name__

    def before(self, here):
        pass

    def left(self, here):
        pass

    def right(self, here):
        pass

    def expect(self, look):
        raise NotImplementedError

    then = None

    def expect_then(self, look):
        pass


def write(path, label, size=200):
    with open(path, "wb") as file:
        file.write(text(label, size))


def edit(path, label, size=200):
    """Overwrites in place, as a database would."""
    with open(path, "r+b") as file:
        file.write(text(label, size))
        file.truncate()


def replace(path, label, size=200):
    """As an editor saves: a new file is put over the old one."""
    new = path.with_name("new-" + label.split()[0][:20])
    write(new, label, size)
    os.replace(new, path)


def fill(directory, label):
    """A directory with a file, one with a long name, and a subdirectory with a file."""
    directory.mkdir(exist_ok=True)
    write(directory / f"{label}-file", f"{label} file", 10_000)
    write(directory / (label + "x" * 180), f"{label} long")
    (directory / "sub").mkdir(exist_ok=True)
    write(directory / "sub" / f"{label}-deep", f"{label} deep")


def filled(label, at=""):
    """path -> content of what fill() makes."""
    prefix = f"{at}/" if at else ""
    return {
        f"{prefix}{label}-file": text(f"{label} file", 10_000),
        prefix + label + "x" * 180: text(f"{label} long"),
        f"{prefix}sub/{label}-deep": text(f"{label} deep"),
    }


def expect_filled(look, label, at):
    for path, content in filled(label, at).items():
        look.named(path, content)


def expect_kept(look, label, at):
    for path, content in filled(label, at).items():
        look.kept(path, content)
