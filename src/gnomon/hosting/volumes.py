"""Memory-backed storage for the models of instances whose storage volume has a KMS key.

What an archive unpacks to is read by programs that know nothing of keys, so that it cannot lie
encrypted on a disk: it never gets there. Each instance has a directory of its own, in a file system
that is in memory, and the directory goes when the instance has ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Collection
from pathlib import Path

from gnomon.errors import GnomonError
from gnomon.model.layout import Layout
from gnomon.spool.disk import free_bytes

_IN_MEMORY = frozenset({b"tmpfs", b"ramfs"})
_MIB = 1024 * 1024
_ID_BYTES = 16


class NoRoomInMemory(GnomonError):
    """Memory-backed storage that is none, or has too little room."""


def owner_of(data_dir: Path) -> str:
    """What tells this data directory from all others, and stays. One process at a time; OSError.

    The path alone does not: two containers may each have a `/data` and share their memory. Nor does
    the id in it, of which a copy has the same.
    """
    file = Layout(data_dir).volumes_id
    try:
        id_ = file.read_text()
    except FileNotFoundError:
        id_ = ""
    # A power cut may leave an empty file; what was in memory is gone then.
    if not id_:
        id_ = secrets.token_hex(_ID_BYTES)
        file.write_text(id_)
    return hashlib.sha256(id_.encode() + bytes(data_dir)).hexdigest()[:16]


class Volumes:
    """Has what of `directory` belongs to one `owner`; others may have theirs beside."""

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory
        self._root = directory / f"gnomon-{owner}"
        # The root comes with the first instance and goes with the last; calls come from threads.
        self._changing = threading.Lock()

    def check(self, needed_bytes: int) -> None:
        """Raises NoRoomInMemory if models whose archives have this size surely do not fit."""
        try:
            if _file_system(self._directory.resolve(strict=True)) not in _IN_MEMORY:
                raise NoRoomInMemory(
                    f"{self._directory} is not in memory, and models of a storage volume with a "
                    "key must not reach a disk: let hosting.memory_directory name a tmpfs."
                )
            free = free_bytes(self._directory)
        except OSError as error:
            raise NoRoomInMemory(
                f"{self._directory} cannot be used ({error.strerror}): let "
                "hosting.memory_directory name a tmpfs."
            ) from error
        if needed_bytes > free:
            raise NoRoomInMemory(
                f"The models need more than {needed_bytes / _MIB:,.1f} MiB of memory-backed "
                f"storage, and {free / _MIB:,.1f} MiB are free in {self._directory}: free some, "
                "enlarge it, or ask for fewer instances."
            )

    def make(self, instance_id: str, needed_bytes: int) -> Path:
        """The instance's directory, which nobody else's programs can read, for an archive of this
        size. Raises NoRoomInMemory if it would not be in memory, surely does not fit, or cannot be
        made.
        """
        self.check(needed_bytes)
        try:
            with self._changing:
                return self._make(instance_id)
        except OSError as error:
            raise NoRoomInMemory(
                f"Nothing can be made in {self._root} ({error.strerror}): see to {self._directory}."
            ) from error

    def _make(self, instance_id: str) -> Path:
        directory = self._root / instance_id
        self._root.mkdir(mode=0o700, exist_ok=True)
        # Anybody may make a directory here, or a link that leads to a disk.
        found = self._root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise NoRoomInMemory(f"{self._root} is somebody else's: remove it.")
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def discard(self, instance_id: str) -> None:
        """Gives the memory back. May be repeated."""
        with self._changing:
            shutil.rmtree(self._root / instance_id, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._root.rmdir()

    def keep_only(self, instance_ids: Collection[str]) -> None:
        """Discards what instances left that nobody saw end."""
        if self._root.is_dir():
            for directory in list(self._root.iterdir()):
                if directory.name not in instance_ids:
                    self.discard(directory.name)


def _file_system(path: Path) -> bytes:
    """The type of the file system that a path is in: proc(5)'s mountinfo, the last that covers."""
    covering: tuple[int, bytes] = (-1, b"")
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        mounted = Path(fields.split()[4].replace(b"\\040", b" ").decode("utf-8", "surrogateescape"))
        if path.is_relative_to(mounted) and len(mounted.parts) >= covering[0]:
            covering = (len(mounted.parts), rest.split()[0])
    return covering[1]
