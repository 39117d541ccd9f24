"""Scenarios in which at least one of the two devices makes, moves or removes a directory."""

import os
import shutil

from look import text
from scenarios import Scenario, edit, expect_filled, expect_kept, fill, filled, write


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
            # Both have a "sub"; in one that was pinned they are two directories by now.
            look.has(*filled("late" + place).values())


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


class RemoveAndFillBelow(Placed):
    """rm -r D on one, a new file in a subdirectory of D on the other."""

    def left(self, here):
        for place, _ in self.pairs:
            shutil.rmtree(here / place)

    def right(self, here):
        for place, _ in self.pairs:
            write(here / place / "sub" / "late", f"late {place}")

    def expect(self, look):
        for place, _ in self.pairs:
            look.kept(f"{place}/sub/late", text(f"late {place}"))


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


class BothMoveThere(Scenario):
    """Both make a directory and rename it, to the same name from different ones."""

    def left(self, here):
        fill(here / "made-left", "left")
        os.rename(here / "made-left", here / "E")

    def right(self, here):
        fill(here / "made-right", "right")
        os.rename(here / "made-right", here / "E")

    def expect(self, look):
        # Both have a "sub"; one of the two may be shown as a conflict copy.
        look.has(*filled("left").values(), *filled("right").values())
        look.absent("made-left", "made-right")


class BothMoveInto(Placed):
    """One moves a directory into another one, which the other device renames."""

    def left(self, here):
        os.rename(here / "D", here / "P" / "D")

    def right(self, here):
        os.rename(here / "P", here / "Q")

    def expect(self, look):
        # A client may set apart what is left of P.
        look.has(*filled("fresh").values())
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


class FileAndDirectory(Scenario):
    """A name is a file on one and a directory on the other."""

    without = {"bisync": "it has no way to keep both"}

    def left(self, here):
        write(here / "both", "left file")

    def right(self, here):
        fill(here / "both", "right")

    def expect(self, look):
        look.has(text("left file"), *filled("right").values())


ALL = [
    BothMakeDirectory, BothRenameDirectory, BothRenameDirectoryAlike, BothMoveThere, RenameAndFill,
    RenameAndEdit, RenameAndMakeAnew, ReplaceAndFill, BothReplaceDirectory, RemoveAndFill,
    RemoveAndFillBelow, RemoveAndEdit, BothMoveInto, RenameTwice, FileAndDirectory,
]
