"""What two devices do to the same vault while they do not see each other, and what both
must show once the client has carried everything over.

Each scenario works in a directory of its own, called after it. `before` is carried to
both devices first; `left` and `right` happen at the same time, out of touch; `expect`
judges. A scenario with `then` goes on: that happens on the left device, is carried
over, and `expect_then` judges.
"""

import os
import shutil

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


class BothEdit(Scenario):
    """The same files are edited on both."""

    def before(self, here):
        for kind, name in NAMES.items():
            write(here / name, f"base {kind}", 5000)

    def left(self, here):
        for kind, name in NAMES.items():
            edit(here / name, f"left {kind}", 5001)

    def right(self, here):
        for kind, name in NAMES.items():
            replace(here / name, f"right {kind}", 9002)

    def expect(self, look):
        for kind, name in NAMES.items():
            look.conflict(name, text(f"left {kind}", 5001), text(f"right {kind}", 9002))

    def then(self, here, look):
        """Every conflict is resolved by renaming: the copy over the original."""
        entries = look.shown["left"]
        for name in NAMES.values():
            copies = [path for path, _, _ in look.copies(name, entries)]
            if copies:
                os.replace(here / copies[0], here / name)
            for other in copies[1:]:
                os.unlink(here / other)

    def expect_then(self, look):
        look.no_conflict()
        for name in NAMES.values():
            for device, entries in look.shown.items():
                if entries.get(name, ("absent",))[0] != "file":
                    look.wrong.append(f"{device}: {name[:40]} is not there after the conflict was resolved")
        if any(len(entries) != len(NAMES) for entries in look.shown.values()):
            look.wrong.append("more is there than the resolved files")


class BothCreate(Scenario):
    """Files of the same names are created on both, an empty one among them."""

    def left(self, here):
        for kind, name in NAMES.items():
            write(here / name, f"left {kind}", 300)
        (here / "void").touch()

    def right(self, here):
        for kind, name in NAMES.items():
            write(here / name, f"right {kind}", 400)
        write(here / "void", "right void")

    def expect(self, look):
        for kind, name in NAMES.items():
            look.conflict(name, text(f"left {kind}", 300), text(f"right {kind}", 400))
        look.conflict("void", text("right void"), b"")


class BothMakeDirectory(Scenario):
    """The same directories are made on both and filled, one with a long name."""

    places = ("D", "long" + "d" * 150)

    def left(self, here):
        for place in self.places:
            fill(here / place, "left")

    def right(self, here):
        for place in self.places:
            fill(here / place, "right")

    def expect(self, look):
        look.no_conflict()
        for place in self.places:
            expect_filled(look, "left", place)
            expect_filled(look, "right", place)


class Placed(Scenario):
    """Those below do the same to a directory that never moved, and to one that was
    renamed before and so has a pin."""

    def before(self, here):
        fill(here / "D", "fresh")
        fill(here / "was", "moved")
        os.rename(here / "was", here / "P")

    pairs = (("D", "fresh"), ("P", "moved"))


class BothRenameDirectory(Placed):
    """The same directory gets another name on each."""

    def left(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-left")

    def right(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-right")

    def expect(self, look):
        look.no_conflict()
        for place, label in self.pairs:
            expect_filled(look, label, f"{place}-left")
            expect_filled(look, label, f"{place}-right")
            look.absent(f"{place}/{label}-file")


class BothRenameDirectoryAlike(Placed):
    """The same directory gets the same new name on both."""

    def left(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-new")

    right = left

    def expect(self, look):
        for place, label in self.pairs:
            look.has(*filled(label).values())
            look.absent(f"{place}/{label}-file")


class RenameAndFill(Placed):
    """One renames a directory while the other fills it."""

    def left(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-left")

    def right(self, here):
        for place, _ in self.pairs:
            fill(here / place, "late" + place)

    def expect(self, look):
        for place, label in self.pairs:
            expect_filled(look, label, f"{place}-left")
            expect_kept(look, "late" + place, place)


class RenameAndMakeAnew(Placed):
    """One renames a directory and makes a new one of the old name; the other fills it."""

    def left(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-left")
            fill(here / place, "anew" + place)

    def right(self, here):
        for place, _ in self.pairs:
            fill(here / place, "late" + place)

    def expect(self, look):
        for place, label in self.pairs:
            expect_filled(look, label, f"{place}-left")
            expect_filled(look, "anew" + place, place)
            expect_kept(look, "late" + place, place)


class ReplaceAndFill(Placed):
    """rm -r D; mv E D on one, a new file in D on the other."""

    def before(self, here):
        super().before(here)
        for place, _ in self.pairs:
            fill(here / f"E{place}", "heir" + place)

    def left(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)
            os.rename(here / f"E{place}", here / place)

    def right(self, here):
        for place, _ in self.pairs:
            fill(here / place, "late" + place)

    def expect(self, look):
        for place, label in self.pairs:
            expect_filled(look, "heir" + place, place)
            # Both have a "sub", two directories by now: one is shown as a conflict copy.
            look.has(*filled("late" + place).values())
            look.absent(f"{place}/{label}-file", f"E{place}/heir{place}-file")


class BothReplaceDirectory(Placed):
    """rm -r D; mv E D on one, rm -r D; mv F D on the other."""

    def before(self, here):
        super().before(here)
        for place, _ in self.pairs:
            fill(here / f"E{place}", "heir" + place)
            fill(here / f"F{place}", "rival" + place)

    def left(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)
            os.rename(here / f"E{place}", here / place)

    def right(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)
            os.rename(here / f"F{place}", here / place)

    def expect(self, look):
        for place, _ in self.pairs:
            look.has(*filled("heir" + place).values(), *filled("rival" + place).values())


class RemoveAndFill(Placed):
    """rm -r D on one, a new file in D on the other."""

    def left(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)

    def right(self, here):
        for place, _ in self.pairs:
            fill(here / place, "late" + place)

    def expect(self, look):
        for place, _ in self.pairs:
            expect_kept(look, "late" + place, place)


class RemoveAndEdit(Placed):
    """rm -r D on one, while the other edits the files in it."""

    def left(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)

    def right(self, here):
        for place, label in self.pairs:
            for path in filled(label, place):
                edit(here / path, f"right {path[:12]}", 6000)

    def expect(self, look):
        for place, label in self.pairs:
            for path in filled(label, place):
                look.kept(path, text(f"right {path[:12]}", 6000))


class RenameAndEdit(Placed):
    """One renames a directory, while the other edits the files in it."""

    def left(self, here):
        for place, _ in self.pairs:
            os.rename(here / place, here / f"{place}-left")

    right = RemoveAndEdit.right

    def expect(self, look):
        RemoveAndEdit.expect(self, look)
        for place, label in self.pairs:
            expect_filled(look, label, f"{place}-left")


class BothMoveInto(Placed):
    """One moves a directory into another one, which the other device renames."""

    def left(self, here):
        os.rename(here / "D", here / "P" / "D")

    def right(self, here):
        os.rename(here / "P", here / "Q")

    def expect(self, look):
        expect_filled(look, "fresh", "P/D")
        expect_filled(look, "moved", "Q")


class RenameTwice(Placed):
    """A directory inside a directory is renamed, then the outer one; the other device
    fills both, and renames the inner one differently."""

    def left(self, here):
        os.rename(here / "D" / "sub", here / "D" / "under")
        os.rename(here / "D", here / "D-left")

    def right(self, here):
        fill(here / "D", "late")
        os.rename(here / "D" / "sub", here / "D" / "below")

    def expect(self, look):
        look.named("D-left/under/fresh-deep", text("fresh deep"))
        look.named("D-left/fresh-file", text("fresh file", 10_000))
        look.kept("D/below/late-deep", text("late deep"))
        look.kept("D/late-file", text("late file", 10_000))


class EditAndRename(Scenario):
    """A file is edited on one and moved to another directory on the other."""

    def before(self, here):
        for kind, name in NAMES.items():
            write(here / name, f"base {kind}", 5000)
        (here / "other").mkdir()
        write(here / "other" / "stays", "stays")

    def left(self, here):
        for kind, name in NAMES.items():
            edit(here / name, f"left {kind}", 6000)

    def right(self, here):
        for name in NAMES.values():
            os.rename(here / name, here / "other" / name)

    def expect(self, look):
        for kind, name in NAMES.items():
            look.kept(name, text(f"left {kind}", 6000))
            look.named(f"other/{name}", text(f"base {kind}", 5000))


class DeleteAndEdit(Scenario):
    """A file is deleted on one and edited on the other; some are deleted only."""

    def before(self, here):
        for kind, name in NAMES.items():
            write(here / name, f"base {kind}", 5000)
            write(here / f"gone-{kind}", f"gone {kind}")
        write(here / "stays", "stays")

    def left(self, here):
        for kind, name in NAMES.items():
            os.unlink(here / name)
            os.unlink(here / f"gone-{kind}")

    def right(self, here):
        for kind, name in NAMES.items():
            edit(here / name, f"right {kind}", 6000)

    def expect(self, look):
        for kind, name in NAMES.items():
            look.kept(name, text(f"right {kind}", 6000))
            look.absent(f"gone-{kind}")


class Links(Scenario):
    """Links made, retargeted and removed, no two of them alike."""

    without = {"bisync": "it carries no links"}

    def before(self, here):
        os.symlink("old", here / "link")
        os.symlink("doomed", here / "doomed")
        os.symlink("elsewhere", here / ("k" * 180))

    def left(self, here):
        os.unlink(here / "link")
        os.symlink("new/target", here / "link")
        os.unlink(here / "doomed")

    def right(self, here):
        os.symlink("/absolute", here / "made")
        os.symlink("t" * 1000, here / ("j" * 255))
        os.rename(here / ("k" * 180), here / "renamed")

    def expect(self, look):
        look.no_conflict()
        look.linked("link", "new/target")
        look.linked("made", "/absolute")
        look.linked("j" * 255, "t" * 1000)
        look.linked("renamed", "elsewhere")
        look.absent("doomed", "k" * 180)


class BothLink(Scenario):
    """The same link is given another target on each."""

    without = {"bisync": "it carries no links"}

    def before(self, here):
        os.symlink("old", here / "link")

    def left(self, here):
        os.unlink(here / "link")
        os.symlink("left-target", here / "link")

    def right(self, here):
        os.unlink(here / "link")
        os.symlink("right-target", here / "link")

    def expect(self, look):
        for device, entries in look.shown.items():
            targets = {entry[1] for entry in entries.values() if entry[0] == "link"}
            kept = targets & {"left-target", "right-target"}
            if len(kept) < (2 if look.client.keeps_both_links else 1) or targets - kept:
                look.wrong.append(f"{device}: the links lead to {sorted(targets)}")


class FileAndDirectory(Scenario):
    """A name is a file on one and a directory on the other."""

    without = {"bisync": "it has no way to keep both"}

    def left(self, here):
        write(here / "both", "left file")

    def right(self, here):
        fill(here / "both", "right")

    def expect(self, look):
        look.has(text("left file"), *filled("right").values())


class EmptyThings(Scenario):
    """Empty files and directories, and files that become empty."""

    def before(self, here):
        write(here / "cut", "soon cut", 9000)
        (here / "grows").touch()

    def left(self, here):
        os.truncate(here / "cut", 0)
        (here / "nothing").touch()
        (here / "hollow").mkdir()

    def right(self, here):
        write(here / "grows", "grown", 9000)
        (here / ("e" * 200)).touch()

    def expect(self, look):
        look.no_conflict()
        for name in ("cut", "nothing", "e" * 200):
            look.named(name, b"")
        look.named("grows", text("grown", 9000))
        look.directory("hollow")


ALL = [
    BothEdit, BothCreate, BothMakeDirectory, BothRenameDirectory, BothRenameDirectoryAlike,
    RenameAndFill, RenameAndMakeAnew, ReplaceAndFill, BothReplaceDirectory, RemoveAndFill,
    RemoveAndEdit, RenameAndEdit, BothMoveInto, RenameTwice, EditAndRename, DeleteAndEdit, Links, BothLink,
    FileAndDirectory, EmptyThings,
]
