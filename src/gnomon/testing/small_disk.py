"""A small file system of its own, for tests that fill it: a real disk that is really full.

The mount is in a mount namespace of the test's process, so that it goes with the process however
that ends. It takes root's right to mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

# <sched.h> and <sys/mount.h>.
_CLONE_NEWNS = 0x20000
_MS_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)
_MNT_DETACH = 2
_CHUNK_BYTES = 64 * 1024


class CannotMount(Exception):
    """The process may not mount anything."""


@contextlib.contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[None]:
    """A file system of this size at `path` for the block. Raises CannotMount."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(status: int) -> None:
        if status != 0:
            raise CannotMount(os.strerror(ctypes.get_errno()))

    done(libc.unshare(_CLONE_NEWNS))
    done(libc.mount(b"none", b"/", None, _MS_PRIVATE_RECURSIVE, None))
    place = os.fsencode(path)
    done(libc.mount(b"tmpfs", place, b"tmpfs", 0, b"size=%d" % size_bytes))
    try:
        yield
    finally:
        done(libc.umount2(place, _MNT_DETACH))


def fill(file: Path, leave_bytes: int) -> None:
    """Grows `file` until no more than this is free where it lies; 0 means to the last byte."""
    with file.open("ab", buffering=0) as growing, contextlib.suppress(OSError):
        while leave_bytes == 0 or _free_bytes(file) > leave_bytes:
            growing.write(bytes(_CHUNK_BYTES))


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
