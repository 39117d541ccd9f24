#!/usr/bin/env python3
"""Trees for tests/programs/decode: made, described, compared, and damaged on the backing.

usage: decode_tree.py make SEED CHUNK DIR          fill a directory with a random tree
       decode_tree.py again SEED CHUNK DIR         change what is in it at random
       decode_tree.py describe DIR FILE            write what is in it
       decode_tree.py compare FILE DIR [LOST...]   LOST are paths that are missing or differ;
                                                   --any-mtime leaves out the times of files,
                                                   --no-mtime all times
       decode_tree.py account VAULT REPORT         check the sums of decode.py --explain --json
       decode_tree.py tamper KIND CHUNK REPORT VAULT FILE
                                                   do one kind of damage, and write what must be
                                                   named and which plain paths are lost
       decode_tree.py named FILE REPORT WANT DIR   check that it was, and that all else is there

Paths on the command line and in files are UTF-8 with surrogate escapes.
"""
import base64
import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2


ATTRIBUTES = 3500  # bytes of attributes on one object that ext4 has room for


def stored_attribute(name, value):
    """About what an attribute takes on the backing."""
    return 64 + (len(name) + 48) * 4 // 3 + 40 + len(value)


def writable(path):
    if not os.access(path, os.W_OK):
        os.chmod(path, os.stat(path).st_mode | 0o200)


def stored(path):
    names = [a for a in os.listxattr(path, follow_symlinks=False) if a.startswith("user.")]
    return sum(stored_attribute(os.fsencode(a), os.getxattr(path, a, follow_symlinks=False)) for a in names)


def exchange(a, b):
    if LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


# ---- make

class Maker:
    def __init__(self, seed, chunk, root):
        self.r, self.c, self.root, self.serial = random.Random(seed), chunk, os.fsencode(root), 0
        self.dirs, self.files, self.done = [self.root], [], {}

    def name(self):
        r = self.r
        kind = r.randrange(12)
        self.serial += 1
        mark = b"%d" % self.serial
        if kind < 4:
            length = r.choice((1, 2, 14, 15, 16, 17, 31, 32, 33, 63, 64, 111, 112, 126, 127))
        elif kind < 7:
            length = r.choice((128, 129, 143, 144, 145, 200, 239, 240, 241, 254, 255, r.randint(128, 255)))
        elif kind < 9:
            length = r.randint(3, 60)
        elif kind == 9:  # any bytes
            raw = bytes(b for b in r.randbytes(r.randint(4, 200)) if b not in (0, 0x2F))
            return (b"\xff" + mark + raw)[:255]
        elif kind == 10:
            return ("ä€\U0001f600e\u0301 " * r.randint(1, 14)).encode()[:200] + mark
        else:  # names that would be internal or temporary if they stood on the backing
            return r.choice((b"keepfs.dir", b"keepfs.vault", b"~keepfs-", b".nfs", b"a.partial", b"=" * 44, b"-rf\n",
                             b"\x80", b" (1)", b".stignore", b"A" * 43, b"x.sync-conflict-20260101-000000-AAAAAAA")) + mark
        letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-"
        body = bytes(r.choice(letters) for _ in range(length))
        return (mark + b"-" + body)[:length] if length > 8 else (mark + b"abcdefgh")[:max(length, len(mark))]

    def place(self):
        while True:
            path = os.path.join(self.r.choice(self.dirs), self.name())
            if not os.path.lexists(path) and len(path) < 3000:
                return path

    def size(self):
        c, r = self.c, self.r
        return r.choice((0, 1, 4095, 4096, 4097, 8191, 8192, 8193, c - 1, c, c + 1, 2 * c - 1, 2 * c, 2 * c + 1,
                         3 * c + 17, r.randrange(1, 5 * c), r.randrange(1, 100)))

    def file(self):
        path, r = self.place(), self.r
        with open(path, "wb") as f:
            f.write(r.randbytes(self.size()))
        self.files.append(path)
        self.count("file")
        for _ in range(r.choice((0, 0, 1, 3))):
            self.change(path)

    def change(self, path):
        writable(path)
        r, n = self.r, os.stat(path).st_size
        with open(path, "r+b") as f:
            for _ in range(r.randint(1, 3)):
                how = r.randrange(6)
                at = r.randrange(n + 1)
                if how == 0:
                    f.seek(at)
                    f.write(r.randbytes(r.randrange(1, 2 * self.c)))
                elif how == 1:
                    f.seek(0, 2)
                    f.write(r.randbytes(r.randrange(1, 2 * self.c)))
                elif how == 2:
                    f.truncate(at)
                elif how == 3:  # a hole at the end
                    f.truncate(n + r.randrange(1, 8 * self.c))
                elif how == 4:  # and one in the middle
                    f.seek(n + r.randrange(1, 8 * self.c))
                    f.write(r.randbytes(r.randrange(1, self.c)))
                else:
                    f.flush()
                    length = r.choice((self.c, r.randrange(1, 4 * self.c)))
                    done = subprocess.run(["fallocate", "-p", "-o", str(at), "-l", str(length), path], stderr=subprocess.PIPE)
                    self.count("punch" if done.returncode == 0 else "no punch")
                f.flush()
                n = os.stat(path).st_size

    def xattr(self):
        r, path = self.r, self.r.choice(self.dirs + self.files)
        name = r.choice((b"comment", b"x", b"y" * 100, b"z" * r.randint(110, 159), b"\xff\xfe raw", "ä".encode() * 20))
        value = r.randbytes(r.choice((0, 1, 40, 300, 900)))
        if stored(path) + stored_attribute(name, value) > ATTRIBUTES:
            return self.count("no room for xattr")
        writable(path)
        try:
            os.setxattr(path, b"user." + name, value, follow_symlinks=False)
            self.count("xattr")
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.E2BIG):
                raise

    def under(self, old, new):
        """Takes note of a rename."""
        def moved(path):
            return new + path[len(old):] if path == old or path.startswith(old + b"/") else path
        self.dirs, self.files = [moved(p) for p in self.dirs], [moved(p) for p in self.files]

    def rename(self):
        r, kind = self.r, self.r.randrange(4)
        if kind == 0 and self.files:
            old, new = r.choice(self.files), self.place()
            os.rename(old, new)
            self.under(old, new)
            return self.count("rename file")
        movable = self.dirs[1:]
        if not movable:
            return None
        old = r.choice(movable)
        if kind == 1:  # exchange
            other = r.choice(self.dirs[1:] + self.files)
            if other == old or (other + b"/").startswith(old + b"/") or (old + b"/").startswith(other + b"/"):
                return None
            exchange(old, other)
            aside = b"\0aside"
            self.under(old, aside)
            self.under(other, old)
            self.under(aside, other)
            return self.count("exchange")
        new = self.place()
        if (new + b"/").startswith(old + b"/"):
            return None
        os.rename(old, new)
        self.count("rename directory" if os.listdir(new) else "rename empty directory")
        if kind == 2:  # there, back, and elsewhere
            os.rename(new, old)
            new = self.place()
            if (new + b"/").startswith(old + b"/"):
                return None
            os.rename(old, new)
        elif r.randrange(2):  # another directory where the first one was born
            os.mkdir(old)
            self.under(old, new)
            self.dirs.append(old)
            return None
        return self.under(old, new)

    def remove(self):
        if self.files and self.r.randrange(2):
            path = self.files.pop(self.r.randrange(len(self.files)))
            os.unlink(path)
            self.count("unlink")
        else:
            for path in self.dirs[1:]:
                if not os.listdir(path):
                    os.rmdir(path)
                    self.dirs.remove(path)
                    return self.count("rmdir")
        return None

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def make(self):
        r = self.r
        for size in (0, 1, 4095, 4096, 4097, 8191, 8192, self.c - 1, self.c, self.c + 1, 3 * self.c):
            path = os.path.join(self.root, b"size %d" % size)
            with open(path, "wb") as f:
                f.write(r.randbytes(size))
            self.files += [] if path in self.files else [path]
        with open(os.path.join(self.root, b"far"), "wb") as f:
            f.truncate(9 << 20)
            f.seek(5 << 20)
            f.write(b"in the middle")
        for _ in range(260):
            self.step()
        self.modes_and_times()
        print(json.dumps(self.done))

    def again(self):
        """Goes on with a tree that is there."""
        self.serial = 10**6
        for directory, names, files in os.walk(self.root):
            names.sort()
            self.dirs += [path for path in (os.path.join(directory, name) for name in names) if not os.path.islink(path)]
            paths = [os.path.join(directory, name) for name in sorted(files)]
            self.files += [path for path in paths if stat.S_ISREG(os.lstat(path).st_mode)]
        for _ in range(80):
            self.step()
        print(json.dumps(self.done))

    def step(self):
        r = self.r
        what = r.choices(("dir", "file", "xattr", "link", "hard", "fifo", "change", "rename", "remove", "leaf"),
                         (20, 60, 25, 12, 8, 2, 20, 50, 14, 6))[0]
        if what == "dir":
            path = self.place()
            os.mkdir(path)
            self.dirs.append(path)
            self.count("mkdir")
        elif what == "leaf":
            os.mkdir(self.place())
            self.count("empty directory")
        elif what == "file":
            self.file()
        elif what == "link":
            target = r.choice((b"x", b"../there", b"/" + b"t" * r.randrange(1, 900), b"\xff\xfe\n", b"q" * 2200))
            os.symlink(target, self.place())
            self.count("symbolic link")
        elif what == "hard" and self.files:
            path = self.place()
            os.link(r.choice(self.files), path)
            self.files.append(path)
            self.count("hard link")
        elif what == "fifo":
            os.mkfifo(self.place())
            self.count("fifo")
        elif what == "change" and self.files:
            self.change(r.choice(self.files))
        elif what in ("xattr", "rename", "remove"):
            getattr(self, what)()

    def modes_and_times(self):
        r = self.r
        for directory, names, files in os.walk(self.root, topdown=False):
            for name in files + names:
                path = os.path.join(directory, name)
                mode = os.lstat(path).st_mode
                if not stat.S_ISLNK(mode):
                    os.chmod(path, r.choice((0o700, 0o755, 0o1777) if stat.S_ISDIR(mode) else (0o600, 0o644, 0o444, 0o755)))
                if r.randrange(3):
                    time = r.choice((0, 1, r.randrange(10**18, 2 * 10**18), 4102444800 * 10**9 + 123456789))
                    os.utime(path, ns=(time, time), follow_symlinks=False)


# ---- describe and compare

KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO)


def text(path):
    return path.decode("utf-8", "surrogateescape")


def contents(path):
    """The hash of what is in a file; None where it cannot be read."""
    try:
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()
    except OSError as e:
        if e.errno != errno.EIO:
            raise
        return None


def describe(root):
    root, tree, inodes = os.fsencode(root), {}, {}
    paths = [root] + sorted(os.path.join(d, n) for d, ds, fs in os.walk(root) for n in ds + fs)
    for path in paths:
        st = os.lstat(path)
        name = text(path[len(root) + 1:])
        entry = tree[name] = {"type": stat.S_IFMT(st.st_mode), "mtime": st.st_mtime_ns, "mode": stat.S_IMODE(st.st_mode)}
        if stat.S_ISREG(st.st_mode):
            entry["size"] = st.st_size
            entry["sha256"] = contents(path)
        elif stat.S_ISLNK(st.st_mode):
            entry["target"] = text(os.readlink(path))
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            entry["link"] = inodes.setdefault(st.st_ino, name)
        entry["xattrs"] = {} if stat.S_ISLNK(st.st_mode) else {
            a: base64.b64encode(os.getxattr(path, a)).decode() for a in os.listxattr(path) if a.startswith("user.")}
    return tree


def compare(expected, root, lost):
    with open(expected) as f:
        want, have = json.load(f), describe(root)
    any_mtime = {"--any-mtime": (stat.S_IFREG,), "--no-mtime": KINDS}.get(lost[0] if lost else "", ())
    lost = {text(os.fsencode(p)) for p in lost if p not in ("--any-mtime", "--no-mtime")}

    def is_lost(path):
        return any(path == p or path.startswith(p + "/") for p in lost)
    for tree in (want, have):
        groups = {}
        for path, entry in tree.items():
            if "link" in entry and not is_lost(path):
                groups.setdefault(entry["link"], []).append(path)
            if entry["type"] in any_mtime:
                del entry["mtime"]
        for path, entry in tree.items():
            group = groups.get(entry.pop("link", None), [])
            entry["links"] = group if len(group) > 1 else []
    bad = [f"{p!r}: {want.get(p)} became {have.get(p)}" for p in sorted(set(want) | set(have))
           if want.get(p) != have.get(p) and not is_lost(p)]
    bad += [f"{p!r} is as it was, though it was damaged" for p in lost if p in want and want[p] == have.get(p)]
    print("\n".join(bad[:20]) if bad else f"{len(have)} objects agree")
    return 1 if bad else 0


# ---- account: the sums of --explain against a walk of the backing

def account(vault, report):
    with open(report) as f:
        said = json.load(f)
    total, attributes, seen = 0, 0, set()
    for d, ds, fs in os.walk(os.fsencode(vault)):
        for path in [d] + [os.path.join(d, n) for n in fs + ds]:
            st = os.lstat(path)
            if (st.st_dev, st.st_ino) in seen:
                continue
            seen.add((st.st_dev, st.st_ino))
            if stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode):
                total += st.st_size
            if not stat.S_ISLNK(st.st_mode):
                for a in os.listxattr(path):
                    if a.startswith("user.keepfs."):
                        total += len(os.getxattr(path, a))
                        attributes += 1
    rows = sum(row[1] for table in said["tables"] for row in table["rows"])
    files = [e for e in said["entries"] if e["type"] == "file"]
    ok = said["bytes"] == total == rows and said["unexplained"] == 0 and not said["damaged"]
    ok = ok and all(e["state"] == "sealed" and e["seal"] == "verified" for e in files)
    ok = ok and all(p["text"] == "is a side file without an entry" for p in said["without_place"])
    ok = ok and attributes == sum(len(e.get("xattrs", ())) for e in said["entries"])
    ok = ok and said["exit"] == (1 if said["without_place"] else 0)
    if not ok:
        print(f"on the backing {total} bytes, {attributes} attributes; in the tables {rows}; said:",
              {k: v for k, v in said.items() if k not in ("entries", "tables")})
        return 1
    for orphan in said["without_place"]:
        os.unlink(os.path.join(os.fsencode(vault), os.fsencode(orphan["path"])))
    pins = sum(t["what"] == "pin" for t in said["tables"])
    holes = sum("hole, zero" in row[3] for t in said["tables"] for row in t["rows"])
    print(f"{total} bytes, {len(files)} sealed files, {attributes} attributes, {pins} pins, {holes} runs of holes, "
          f"{len(said['without_place'])} side files without an entry")
    return 0


# ---- tamper

def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def tamper(what, chunk, report, vault):
    with open(report) as f:
        said = json.load(f)
    r, slot, vault = random.Random(what), chunk + 40, os.fsencode(vault)
    entries, linked = said["entries"], {e["link"] for e in said["entries"] if e["type"] == "hard link"}

    def pick(condition, kind="file"):
        choice = [e for e in entries if e["type"] == kind and e["path"] and e["path"] not in linked and condition(e)]
        entry = r.choice(choice)
        return entry, os.path.join(vault, os.fsencode(entry["backing"]))

    def dense(e, chunks):
        path = os.path.join(vault, os.fsencode(e["backing"]))
        rows = next(t for t in said["tables"] if t["backing"] == e["backing"])["rows"]
        return os.stat(path).st_size >= 128 + chunks * slot + 40 and not any("hole, zero" in row[3] for row in rows)

    def inside(e):
        return [e["path"]]

    def below(e):  # what a directory without its id loses
        children = [o["path"] for o in entries if os.path.dirname(o["path"]) == e["path"]]
        return children + (inside(e) if e["xattrs"] else [])
    if what == "chunk":
        e, path = pick(lambda e: dense(e, 2))
        flip(path, 128 + slot + 24 + r.randrange(chunk))
        return [e["path"]], inside(e)
    if what == "nonce of the last chunk":
        e, path = pick(lambda e: e["size"] > 0 and dense(e, 0))
        flip(path, os.stat(path).st_size - 40 - e["size"] % chunk)
        return [e["path"]], inside(e)
    if what == "swap":
        e, path = pick(lambda e: dense(e, 2))
        with open(path, "r+b") as f:
            data = f.read()
            f.seek(128)
            f.write(data[128 + slot:128 + 2 * slot] + data[128:128 + slot])
        return [e["path"]], inside(e)
    if what == "header":
        e, path = pick(lambda e: True)
        flip(path, r.choice((0, 5, 9, 30, 50, 127)))
        return [e["path"]], inside(e)
    if what == "cut":
        e, path = pick(lambda e: e["size"] > 0)
        os.truncate(path, os.stat(path).st_size - 1)
        return [e["path"]], inside(e)
    if what == "cut at a slot":
        e, path = pick(lambda e: dense(e, 2))
        os.truncate(path, 128 + slot + 40)
        return [e["path"]], inside(e)
    if what == "hole":  # a slot of a sparse file made zero, which only the seal shows
        e, path = pick(lambda e: any("hole, zero" in row[3] for t in said["tables"] if t["backing"] == e["backing"]
                                     for row in t["rows"]) and e["size"] > chunk)
        rows = next(t for t in said["tables"] if t["backing"] == e["backing"])["rows"]
        full = [row for row in rows if "slot" in row[3] and "hole, zero" not in row[3] and row[1] % slot == 0]
        at = full[0][0] if full else None
        if at is None:
            return None, None
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(bytes(slot))
        return [e["path"]], inside(e)
    if what == "name":
        e, path = pick(lambda e: len(os.path.basename(e["backing"])) >= 43 and e["backing"][0] != "=")
        head, tail = os.path.split(path)
        new = os.path.join(head, (b"B" if tail[:1] != b"B" else b"C") + tail[1:])
        os.rename(path, new)
        return [text(new[len(vault) + 1:])], inside(e)
    if what == "moved directory":
        e, path = pick(lambda e: "/" in e["path"] and any(o["path"].startswith(e["path"] + "/") for o in entries), "directory")
        new = os.path.join(vault, os.path.basename(path))
        os.rename(path, new)
        return [text(os.path.basename(path))], inside(e)
    if what in ("side file", "lost side file", "pin", "length of a pin"):
        shutil.rmtree(os.path.join(vault, b"keepfs.names"))  # which would make up for it
    if what == "side file":
        e, path = pick(lambda e: os.path.basename(e["backing"])[:1] == "=")
        flip(path + b"=", 20)
        return [e["backing"], e["backing"] + "="], inside(e)
    if what == "lost side file":
        e, path = pick(lambda e: os.path.basename(e["backing"])[:1] == "=")
        os.unlink(path + b"=")
        return [e["backing"]], inside(e)
    if what == "pin":
        def pinned(e):
            d = os.path.join(vault, os.fsencode(e["backing"]))
            return os.path.exists(d + b"/keepfs.dir") and any(o["path"].startswith(e["path"] + "/") for o in entries) \
                and "record of this place" in str([t for t in said["tables"] if t["backing"] == e["backing"] + "/keepfs.dir"])
        e, path = pick(pinned, "directory")
        for at in range(0, os.stat(path + b"/keepfs.dir").st_size, 32):
            flip(path + b"/keepfs.dir", at)
        child = next(o for o in entries if os.path.dirname(o["backing"]) == e["backing"])
        return [child["backing"]], below(e)
    if what == "length of a pin":
        e, path = pick(lambda e: os.path.exists(os.path.join(vault, os.fsencode(e["backing"]), b"keepfs.dir")), "directory")
        with open(path + b"/keepfs.dir", "ab") as f:
            f.write(b"x")
        return [e["path"]], below(e)
    if what == "link":
        e, path = pick(lambda e: True, "symbolic link")
        target = os.fsencode(os.readlink(path))
        os.unlink(path)
        os.symlink((b"B" if target[:1] != b"B" else b"C") + target[1:], path)
        return [e["path"]], inside(e)
    if what in ("value", "attribute"):
        e, path = pick(lambda e: e["xattrs"])
        a = next(a for a in os.listxattr(path) if a.startswith("user.keepfs."))
        value = os.getxattr(path, a)
        if what == "attribute":
            os.removexattr(path, a)
            os.setxattr(path, a[:12] + ("B" if a[12] != "B" else "C") + a[13:], value)
        else:
            os.setxattr(path, a, value[:-1] + bytes([value[-1] ^ 1]))
        return [e["path"]], inside(e)
    if what in ("foreign", "temporary", "internal"):
        name = {"foreign": b"README.txt", "temporary": b".nfs0001", "internal": b"keepfs.odd"}[what]
        e, path = pick(lambda e: True, "directory")
        with open(os.path.join(path, name), "wb") as f:
            f.write(b"not encrypted")
        return [e["backing"] + "/" + text(name)], []
    raise SystemExit(f"no such tampering: {what}")


def check_named(tampered, report, want, root):
    """Whether decode.py said what is damaged, and decoded all the rest."""
    with open(tampered) as f:
        done = json.load(f)
    with open(report) as f:
        said = json.load(f)
    named = {p["path"] for p in said["damaged"] + said["without_place"]}
    bad = [f"{path!r} is not named" for path in done["named"] if path not in named]
    if said["exit"] != 1:
        bad.append("the exit code is not 1")
    print("\n".join(bad), end="\n" * bool(bad))
    return compare(want, root, done["lost"]) or (1 if bad else 0)


def main():
    sys.setrecursionlimit(10000)
    command, *args = sys.argv[1:]
    if command in ("make", "again"):
        getattr(Maker(int(args[0]), int(args[1]), args[2]), command)()
    elif command == "describe":
        with open(args[1], "w") as f:
            json.dump(describe(args[0]), f)
    elif command == "compare":
        return compare(args[0], args[1], args[2:])
    elif command == "account":
        return account(*args)
    elif command == "tamper":
        times = {d: os.stat(d) for d, _, _ in os.walk(os.fsencode(args[3]))}
        named, lost = tamper(args[0], int(args[1]), args[2], args[3])
        for directory, st in times.items():
            if os.path.exists(directory):
                os.utime(directory, ns=(st.st_atime_ns, st.st_mtime_ns))
        with open(args[4], "w") as f:
            json.dump({"named": named, "lost": lost}, f)
    elif command == "named":
        return check_named(*args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
