"""A disk that fills up and is freed again when a test says so; files are real."""

from __future__ import annotations

import errno
import os
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
