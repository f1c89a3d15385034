"""A disk that fills up and is freed again when a test says so; files are real.

It remembers what was synced, so that a test can see what a power cut would leave.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

GIB = 1024**3


class FakeDisk:
    """`free` is what it says is free; of what is written it takes `room` bytes more (None: all),
    and then fails with `failure`.
    """

    def __init__(self) -> None:
        self.free = GIB
        self.room: int | None = None
        self.failure = errno.ENOSPC
        # What is safe: by a file's inode its length, by a directory's the names in it.
        self._lengths: dict[int, int] = {}
        self._names: dict[int, dict[str, int]] = {}

    def free_bytes(self, directory: Path) -> int:
        os.stat(directory)  # noqa: PTH116 - raises as the real one for what is not there
        return self.free

    def writev(self, file: int, buffers: Sequence[bytes]) -> int:
        if self.room is None:
            return os.writev(file, buffers)
        if self.room == 0:
            raise OSError(self.failure, os.strerror(self.failure))
        written = os.write(file, b"".join(buffers)[: self.room])
        self.room -= written
        return written

    def sync(self, file: int) -> None:
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(file) as entries:
                self._names[found.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self._lengths[found.st_ino] = found.st_size

    def copy_after_power_cut(self, directory: Path, copy: Path) -> None:
        """Make `copy` what a power cut now would leave of `directory`."""
        copy.mkdir()
        names = self._names.get(directory.stat().st_ino, {})
        paths = {path.stat().st_ino: path for path in directory.iterdir()}
        for name, inode in names.items():
            path = paths.get(inode)
            if path is None:
                continue
            if path.is_dir():
                self.copy_after_power_cut(path, copy / name)
            else:
                shutil.copyfile(path, copy / name)
                os.truncate(copy / name, self._lengths.get(inode, 0))
