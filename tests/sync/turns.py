"""One device is busy at a time, the other one looks on: after each turn both mounts show
what a plain directory shows after the same work. And a large file that grows while the
client is at work."""

import os
import shutil
import threading

import trees
from device import Broken, say, until
from look import text
from scenarios import edit, fill, replace, write

LONG = "t" * 200
LONGEST = "u" * 251 + ".txt"


def make(here):
    write(here / "letter", "first letter", 5000)
    write(here / "book", "book", 300_000)
    write(here / LONG, "long")
    write(here / LONGEST, "longest", 4096)
    (here / "empty").touch()
    os.symlink("letter", here / "link")
    fill(here / "box", "box")
    (here / "hollow").mkdir()


def change(here):
    edit(here / "letter", "second letter", 5000)
    with open(here / "book", "r+b") as file:
        file.seek(100_000)
        file.write(b"in the middle")
    with open(here / LONG, "ab") as file:
        file.write(text("appended", 9000))
    replace(here / LONGEST, "replaced", 4095)
    write(here / "empty", "no longer")


def move(here):
    os.rename(here / "letter", here / "box" / "letter")
    os.rename(here / LONG, here / "box" / LONGEST)
    os.rename(here / "box", here / "chest")
    os.rename(here / "chest" / "sub", here / "chest" / LONG)
    if os.path.lexists(here / "link"):
        os.unlink(here / "link")
    os.symlink("chest/letter", here / "link")


def cut(here):
    os.truncate(here / "book", 4096 * 3)
    os.truncate(here / "empty", 0)
    os.truncate(here / LONGEST, 70_000)
    write(here / "chest" / LONG / "added", "added")


def swap(here):
    shutil.rmtree(here / "chest" / LONG)
    fill(here / "chest" / "sub", "again")
    os.rename(here / "chest", here / ("c" * 130))
    fill(here / "chest", "new chest")


def remove(here):
    shutil.rmtree(here / ("c" * 130))
    os.unlink(here / "book")
    if os.path.lexists(here / "link"):
        os.unlink(here / "link")
    os.rename(here / "chest", here / "box")
    os.rename(here / LONGEST, here / "letter")


TURNS = [make, change, move, cut, swap, remove, make]


def take_turns(client, left, right, model, turns):
    """`turns` turns, or all."""
    name = "turns"
    for top in (model, left.mount_point):
        (top / name).mkdir()
    busy, idle = left, right
    for number, turn in enumerate(TURNS[:turns]):
        if turn is make and number:
            for top in (model, busy.mount_point):
                shutil.rmtree(top / name)
                (top / name).mkdir()
        for top in (model, busy.mount_point):
            turn(top / name)
        if not client.two_way:
            client.turn(busy, idle)
        client.settle()
        compare(client, left, right, model, name, turn.__name__)
        busy, idle = idle, busy
    say(f"{client.name}: {len(TURNS[:turns])} turns, both mounts as a plain directory after each")


def compare(client, left, right, model, name, what):
    """Without a remount: the mounts may believe the old state for a moment."""
    expected = client.carried(trees.tree(model / name))

    def wrong():
        lines = []
        for device in (left, right):
            shown = client.carried(trees.tree(device.mount_point / name))
            lines += [f"{device.name}: {line}" for line in trees.differences(expected, shown)]
        return lines

    if not until(lambda: not wrong(), 10, pause=0.5):
        raise Broken(f"{client.name}: after the turn '{what}' (plain directory / mount): " + "; ".join(wrong()))


def grow(client, left, right, megabytes):
    """A file grows on the left while the client carries it; pieces of it are read on the
    right. There, every byte that is read is right."""
    name = "growing"
    piece = text("a piece of the large file", 65_536)
    pieces = megabytes * 16
    failure = []

    def append():
        try:
            with open(left.mount_point / name, "ab", buffering=0) as file:
                for _ in range(pieces):
                    file.write(piece)
                    done.wait(5 / pieces)
        except OSError as error:
            failure.append(error)

    done = threading.Event()
    writer = threading.Thread(target=append)
    if not client.two_way:
        client.turn(left, right)
    writer.start()
    looks, lost = 0, 0
    while writer.is_alive():
        client.pulse()
        done.wait(0.3)
        try:
            with open(right.mount_point / name, "rb") as file:
                seen = file.read()
            looks += 1
            if seen != (piece * pieces)[:len(seen)]:
                failure.append("other bytes were read than were written")
        except FileNotFoundError:
            pass
        except OSError:
            # Carried over in part: an error is what it should be.
            lost += 1
    writer.join()
    if failure:
        raise Broken(f"{client.name}: the growing file: {failure[0]}")
    client.settle()

    def arrived():
        try:
            return (right.mount_point / name).read_bytes() == piece * pieces
        except FileNotFoundError:
            return False

    if not until(arrived, 10, pause=0.5):
        raise Broken(f"{client.name}: the growing file did not arrive whole")
    say(f"{client.name}: {megabytes} MB appended, read whole on the other device (meanwhile {looks} times in part, {lost} times not yet)")
