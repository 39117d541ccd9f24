"""One vault with one load: laid out, put to work, cut and looked at."""

import shutil

from checked_by_fio import Fio
from database import Rollback, Wal
from report import Broken, Outcome
from small import Editor, Tree
from writer import Writer

# How often each takes its turn within its group.
LOADS = {"writer": (Writer, Fio, Writer), "sqlite": (Wal, Rollback), "files": (Editor, Tree)}


def kinds_of(groups):
    """All loads of these groups, each once."""
    return [kind for group in groups for kind in dict.fromkeys(LOADS[group])]


class Trial:
    """`system` is not mounted between the steps."""

    def __init__(self, system, load):
        self.system, self.load = system, load
        load.lacks = system.lacks

    def begin(self):
        self.system.init()
        self.system.mount()
        self.load.lay_out(self.system.view())
        self.system.unmount()

    def work_until(self, seconds, seed, cut):
        """The load works for `seconds`, then `cut()` comes."""
        self.system.mount()
        self.load.start(self.system.view(), seed)
        try:
            self.load.let_run(seconds)
        except BaseException:
            self.load.stop()
            self.system.detach()
            raise
        cut()
        try:
            self.load.finish()
        finally:
            self.system.detach()

    def look(self):
        """What the cut has left."""
        outcome = Outcome()
        try:
            self.system.mount()
        except Broken as broken:
            outcome.lost.append(str(broken))
            return outcome
        try:
            self.load.verify(self.system.view(), outcome)
            self.system.unmount()
        except BaseException:
            self.system.detach()
            raise
        self.system.check(outcome)
        return outcome

    def clean_up(self):
        self.load.stop()
        self.system.detach()

    def remove(self):
        self.clean_up()
        shutil.rmtree(self.system.home)
