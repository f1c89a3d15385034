"""Names for Unix sockets, however long the paths are at which they lie.

A socket's address holds 107 bytes of path (unix(7)); data directories may be deeper. The kernel
also takes a path through a descriptor of the directory, which is short.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of `path` for bind or connect in this process, good as long as the block lasts.

    Raises OSError if its directory is not there.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
