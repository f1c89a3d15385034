"""What tests install for clients that are not Gnomon's own: once, and kept for the next run."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path


def kept(name: str, wanted: bytes, make: Callable[[Path], None]) -> Path:
    """A directory in the user's cache in which `make` has done its work for `wanted`.

    Tests that want the same at once wait for the one that makes it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnomon-tests"
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / f"{name}-{hashlib.sha256(wanted).hexdigest()[:16]}"
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Beside it: a maker may begin with an empty directory.
        made = directory.with_suffix(".made")
        if not made.exists():
            make(directory)
            made.touch()
    return directory
