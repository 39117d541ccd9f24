"""Stands between sshfs and an SFTP server and counts the requests that pass.

    sftp_count.py COUNTS DELAY COMMAND...

COUNTS is a file of 256 little-endian 64-bit counters, one for each type of packet, that
may be read at any time. DELAY is how many milliseconds each request and each answer is
held up, to stand for a distant server. Only the frames are looked at:
draft-ietf-secsh-filexfer-02, section 3: length u32, type u8, then length - 1 bytes.
"""

import collections
import mmap
import os
import struct
import subprocess
import sys
import threading
import time

COUNTERS = 256
BYTES = COUNTERS * 8
PIECE = 1 << 18


class Frames:
    """Tells the types of the packets in a stream that comes in pieces of any size."""

    def __init__(self, seen):
        self.seen = seen
        self.head = b""
        self.skip = 0

    def feed(self, piece):
        at = 0
        while at < len(piece):
            if self.skip:
                step = min(self.skip, len(piece) - at)
                self.skip -= step
                at += step
                continue
            step = min(5 - len(self.head), len(piece) - at)
            self.head += piece[at:at + step]
            at += step
            if len(self.head) == 5:
                length, kind = struct.unpack(">IB", self.head)
                self.head = b""
                self.skip = length - 1
                self.seen(kind)


class Line:
    """One direction: pieces come out as they went in, `delay` seconds later."""

    def __init__(self, target, delay):
        self.target = target
        self.delay = delay
        self.queue = collections.deque()
        self.waiting = threading.Semaphore(0)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def put(self, piece):
        self.queue.append((time.monotonic() + self.delay, piece))
        self.waiting.release()

    def run(self):
        while True:
            self.waiting.acquire()
            due, piece = self.queue.popleft()
            if not piece:
                os.close(self.target)
                return
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            try:
                while piece:
                    piece = piece[os.write(self.target, piece):]
            except BrokenPipeError:
                return


def pump(source, line, look):
    while True:
        piece = os.read(source, PIECE)
        look(piece)
        line.put(piece)
        if not piece:
            return


def main():
    counts, delay, command = sys.argv[1], float(sys.argv[2]) / 1000, sys.argv[3:]
    with open(counts, "r+b") as file:
        counters = mmap.mmap(file.fileno(), BYTES)

    def seen(kind):
        value = struct.unpack_from("<Q", counters, kind * 8)[0]
        struct.pack_into("<Q", counters, kind * 8, value + 1)

    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    forth = Line(os.dup(server.stdin.fileno()), delay)
    server.stdin.close()
    back = Line(os.dup(1), delay)
    os.close(1)
    answers = threading.Thread(
        target=pump, args=(server.stdout.fileno(), back, lambda _: None))
    answers.start()
    pump(0, forth, Frames(seen).feed)
    answers.join()
    server.wait()


if __name__ == "__main__":
    main()
