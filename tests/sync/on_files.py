"""Scenarios in which the two devices meet in single files and links."""

import os

from look import text
from scenarios import NAMES, Scenario, edit, replace, write


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
    BothEdit, BothCreate, EditAndRename, DeleteAndEdit, Links, BothLink, EmptyThings,
]
