"""The disk as the spool's writer uses it, and when too little of it is free.

Its stand-in for tests is `gnomon.testing.fake_disk`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

# What was dropped for want of space is kept again when so much more than the bound is free: else
# it would change with every file that comes and goes.
_AGAIN = 1.25


class Disk(Protocol):
    """What may fail or be used up."""

    def free_bytes(self, directory: Path) -> int:
        """What this user can still write where `directory` is. Raises OSError."""

    def writev(self, file: int, buffers: Sequence[bytes]) -> int:
        """Appends; how many bytes were written, perhaps not all. Raises OSError."""

    def sync(self, file: int) -> None:
        """Returns when a power cut cannot take what the file, or directory, holds. OSError."""


class MachineDisk:
    """The machine's."""

    def free_bytes(self, directory: Path) -> int:
        return free_bytes(directory)

    def writev(self, file: int, buffers: Sequence[bytes]) -> int:
        return os.writev(file, buffers)

    def sync(self, file: int) -> None:
        os.fsync(file)


def free_bytes(directory: Path) -> int:
    """What this user can still write where `directory` is. Raises OSError; may wait for a disk."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def shortage(free: int, min_free_bytes: int, before: int) -> int:
    """How short space is: 0 not, 1 too short for captures, 2 for pairs, too. Pure.

    `before` is what it was.
    """
    for level, bound in ((2, min_free_bytes / 2), (1, min_free_bytes)):
        if free < bound * (_AGAIN if before >= level else 1):
            return level
    return 0
