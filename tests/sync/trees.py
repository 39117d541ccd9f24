"""What a mount or a backing shows, and where two of them differ."""

import fnmatch
import errno
import os
import stat

# What the clients themselves keep at the top of the folder.
OF_CLIENTS = (".stfolder", ".stignore", ".stversions")


def _name(error):
    return errno.errorcode.get(error.errno, str(error.errno))


def _entry(path):
    try:
        info = os.lstat(path)
        if stat.S_ISDIR(info.st_mode):
            return ("directory",)
        if stat.S_ISLNK(info.st_mode):
            return ("link", os.readlink(path))
        if not stat.S_ISREG(info.st_mode):
            return ("special",)
        with open(path, "rb") as file:
            return ("file", file.read())
    except OSError as error:
        return ("error", _name(error))


def tree(top):
    """Every entry below `top` by its path relative to it. What cannot be read is an
    entry ("error", errno)."""
    seen = {}

    def walk(path, prefix):
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            seen[prefix or "."] = ("error", _name(error))
            return
        for name in names:
            below = f"{prefix}/{name}" if prefix else name
            seen[below] = _entry(os.path.join(path, name))
            if seen[below] == ("directory",):
                walk(os.path.join(path, name), below)

    walk(str(top), "")
    return seen


def _of_client(path):
    """What was fetched in part: Syncthing keeps it for a day, Unison for the next time. And
    what clients are told to ignore: a mount's journal is there for ten seconds."""
    parts = path.split("/")
    return parts[0] in OF_CLIENTS or fnmatch.fnmatchcase(parts[-1], "~keepfs-*.tmp") or any(
        name.endswith(".tmp") and name.startswith((".syncthing.", ".unison.")) for name in parts
    )


def backing(top):
    """The backing without what the client keeps there for itself."""
    return {path: entry for path, entry in tree(top).items() if not _of_client(path)}


def without_empty_directories(entries):
    """For a client that does not carry them: a directory in which no file or link is."""
    filled = set()
    for path, entry in entries.items():
        if entry == ("directory",):
            continue
        parts = path.split("/")
        filled.update("/".join(parts[:end]) for end in range(1, len(parts)))
    return {
        path: entry for path, entry in entries.items()
        if entry != ("directory",) or path in filled
    }


def short(path):
    return path if len(path) < 100 else f"{path[:60]}...{path[-30:]} ({len(path)} characters)"


def in_words(entry):
    if entry is None:
        return "absent"
    if entry[0] == "file":
        start = entry[1][:50].split(b"\n")[0].decode("utf-8", "replace")
        return f"file of {len(entry[1])} bytes, '{start}'"
    return " ".join(entry)


def differences(one, two, most=20):
    """Lines that name what differs between two trees."""
    lines = []
    for path in sorted(set(one) | set(two)):
        if one.get(path) != two.get(path):
            lines.append(f"{short(path)}: {in_words(one.get(path))} / {in_words(two.get(path))}")
    if len(lines) > most:
        lines[most:] = [f"and {len(lines) - most} more"]
    return lines


def errors(entries):
    return [f"{short(path)}: {entry[1]}" for path, entry in entries.items() if entry[0] == "error"]
