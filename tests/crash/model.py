"""What a file may hold after a cut: the bytes of the last fsync, and for every block that
was written since, each of the versions that it has had since."""

import os

BLOCK = 4096


class FileModel:
    """`base` is what was promised last, `image` what was written last. A block that
    changed in between has its versions in `versions`, the newest last."""

    def __init__(self, contents=b""):
        self.base = bytearray(contents)
        self.image = bytearray(contents)
        self.versions = {}
        self.shortest = self.longest = len(contents)

    def block(self, number):
        return bytes(self.image[number * BLOCK:(number + 1) * BLOCK])

    def _keep(self, first, end):
        """Notes the blocks that hold bytes `first` to `end` as they are now."""
        for number in range(first // BLOCK, (max(end, first + 1) - 1) // BLOCK + 1):
            self.versions.setdefault(number, []).append(self.block(number))
        self.shortest = min(self.shortest, len(self.image))
        self.longest = max(self.longest, len(self.image))

    def write(self, at, data):
        if at > len(self.image):
            self.truncate(at)
        self.image[at:at + len(data)] = data
        self._keep(at, at + len(data))

    def truncate(self, size):
        old = len(self.image)
        if size < old:
            del self.image[size:]
        else:
            self.image.extend(bytes(size - old))
        self._keep(min(size, old), max(size, old))

    def punch(self, at, length):
        """Zeros, and never a byte beyond the end."""
        end = min(at + length, len(self.image))
        if at < end:
            self.image[at:end] = bytes(end - at)
            self._keep(at, end)

    def fsync(self):
        size = len(self.image)
        if len(self.base) > size:
            del self.base[size:]
        else:
            self.base.extend(bytes(size - len(self.base)))
        for number in self.versions:
            part = self.block(number)
            self.base[number * BLOCK:number * BLOCK + len(part)] = part
        self.versions = {}
        self.shortest = self.longest = size

    def judge(self, name, seen, outcome):
        """`seen` is a list of blocks: bytes, or the error of reading it."""
        size = sum(len(part) for part in seen if isinstance(part, bytes))
        broken = any(not isinstance(part, bytes) for part in seen)
        if not broken and size < self.shortest:
            outcome.lost.append(f"{name} has {size} bytes, never less than {self.shortest} since the last fsync")
        if size > self.longest:
            outcome.wrong.append(f"{name} has {size} bytes, never more than {self.longest}")
        for number, part in enumerate(seen):
            promised = bytes(self.base[number * BLOCK:(number + 1) * BLOCK])
            later = self.versions.get(number, [])
            if not isinstance(part, bytes):
                text = f"{name} block {number}: {part}, {len(later)} versions since the last fsync"
                outcome.unreadable.append(text)
                if promised and all(later):
                    outcome.lost.append(text)
            elif not any(fits(part, version) for version in (promised, *later)):
                text = f"{name} block {number}: none of its {1 + len(later)} versions ({kind_of(part)})"
                (outcome.lost if promised else outcome.wrong).append(text)


def fits(part, version):
    """Whether `part` is `version` in a file that ends sooner or later than it did then."""
    return part == version[:len(part)].ljust(len(part), b"\0")


def kind_of(part):
    if not part.strip(b"\0"):
        return "all zero"
    return "zeros at its end" if not part[-64:].strip(b"\0") else "other bytes"


def read_blocks(path):
    """All blocks of a file, an error standing for each that cannot be read. Opening may
    fail too: then the error is raised."""
    blocks = []
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, 2)
        file.seek(0)
        for at in range(0, size, BLOCK * 256):
            blocks += read_some(file.fileno(), at, min(size - at, BLOCK * 256))
    return blocks


def read_some(handle, at, length):
    try:
        data = os.pread(handle, length, at)
        if len(data) == length:
            return [data[start:start + BLOCK] for start in range(0, length, BLOCK)]
    except OSError:
        pass
    blocks = []
    for start in range(at, at + length, BLOCK):
        want = min(BLOCK, at + length - start)
        try:
            data = os.pread(handle, want, start)
            blocks.append(data if len(data) == want else OSError(0, f"{len(data)} bytes instead of {want}"))
        except OSError as error:
            blocks.append(error)
    return blocks
