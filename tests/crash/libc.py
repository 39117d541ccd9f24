"""System calls that Python lacks."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
# Wait for what is being written, write, and wait for that.
SYNC_FILE_RANGE_WRITE_AND_WAIT = 7


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def punch(handle, at, length):
    _call("fallocate64", handle, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, ctypes.c_int64(at), ctypes.c_int64(length))


def sync_file_range(handle, at, length):
    """Writes these pages out, and no metadata with them."""
    _call("sync_file_range", handle, ctypes.c_int64(at), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE_AND_WAIT)


def syncfs(handle):
    _call("syncfs", handle)
