"""A process of a load. It tells after each step that the step is done; what it was
told to have done is the ledger, and lies outside the mount."""

import os
import select
import signal
import struct
import sys
import time
import traceback

from report import Broken

DONE, STOPPED, CRASHED = 0, 1, 2
RECORD = struct.Struct("<BI")
# How long a process may take to notice that its file system is gone.
PATIENCE = 60


class Child:
    """Runs `work(done)` in a process of its own; `done(step)` acknowledges a step. An
    OSError ends it in good order: the file system went away."""

    def __init__(self, work):
        self.steps = 0
        # How many steps had been acknowledged when the cut began.
        self.before_cut = None
        self.ended = None
        self.left = b""
        self.pipe, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            self._live(work, writer)
        os.close(writer)

    @staticmethod
    def _live(work, writer):
        status = 1
        try:
            # The parent's handlers are not the child's, and its way out leads past them.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            try:
                work(lambda step: os.write(writer, RECORD.pack(DONE, step)))
                os.write(writer, RECORD.pack(STOPPED, 0))
            except OSError as error:
                os.write(writer, RECORD.pack(STOPPED, error.errno or 0))
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os.write(writer, RECORD.pack(CRASHED, 0))
        finally:
            os._exit(status)

    def drain(self):
        """Takes in what has been acknowledged so far; false once the process has ended."""
        data = os.read(self.pipe, 65536)
        if not data:
            if self.ended is None:
                # A mapping of a file that has gone kills with SIGBUS.
                self.ended = (STOPPED, 0)
            return False
        self.left += data
        whole = len(self.left) - len(self.left) % RECORD.size
        for kind, value in RECORD.iter_unpack(self.left[:whole]):
            if kind == DONE:
                self.steps = value
            else:
                self.ended = (kind, value)
        self.left = self.left[whole:]
        return True

    def drain_now(self):
        while select.select([self.pipe], [], [], 0)[0] and self.drain():
            pass

    def promised(self):
        """The steps that are sure. A sync that returns while its file system is being shut
        down may have been told of a success that is none, as no program ever is by a
        power cut: what came after the beginning of that may have happened or not."""
        return self.steps if self.before_cut is None else self.before_cut

    def finish(self):
        """Waits for the end, and takes in the last acknowledgements."""
        end = time.monotonic() + PATIENCE
        try:
            while True:
                ready, _, _ = select.select([self.pipe], [], [], max(0, end - time.monotonic()))
                if not ready:
                    raise Broken("a process of the load does not notice that its file system is gone")
                if not self.drain():
                    break
        finally:
            self.abandon()
        if self.ended[0] == CRASHED:
            raise Broken("a process of the load has a defect, see above")

    def abandon(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.pipe)
            self.pid = 0


def let_run(children, seconds):
    """Lets them work for that long. One that ends before it should is an error of the
    file system: nothing has been cut yet."""
    end = time.monotonic() + seconds
    pipes = {child.pipe: child for child in children}
    while (left := end - time.monotonic()) > 0:
        for pipe in select.select(list(pipes), [], [], left)[0]:
            child = pipes[pipe]
            if not child.drain() or child.ended:
                kind, value = child.ended
                text = "has a defect" if kind == CRASHED else f"met an error: {os.strerror(value) if value else 'end'}"
                raise Broken(f"before the cut a process of the load {text}")


class Load:
    """What works on a mount until it is cut. A load has a `name`, a `group`, and:

    `lay_out(top)` makes the files it begins with, `start(top, seed)` begins the work,
    `acknowledged()` counts the steps that are done, and `verify(top, outcome)` judges what is there after
    the cut and takes it as what the next work begins with."""

    # Whether a rename is safe without a sync of its directory, and a direct write without
    # one of its file: they are when only the daemon is killed.
    daemon_only = True
    # What the system at hand does not offer, and the load goes without.
    lacks = frozenset()

    def __init__(self):
        self.children = []

    def note_promises(self):
        """What is acknowledged from now on promises nothing any more."""
        for child in self.children:
            child.drain_now()
            child.before_cut = child.steps

    def let_run(self, seconds):
        let_run(self.children, seconds)

    def finish(self):
        """Waits until every process has noticed the cut."""
        try:
            for child in self.children:
                child.finish()
        finally:
            self.stop()

    def stop(self):
        for child in self.children:
            child.abandon()

    def acknowledged(self):
        return sum(child.steps for child in self.children)
