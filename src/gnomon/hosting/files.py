"""An instance's files under the data directory: the memory that outlives control.

`instances/<id>/launch` is the launch that is wanted and where it will answer: written here, before
the spawn. `instances/<id>/lock` is the launcher's (`gnomon.hosting.launcher`): held while the
instance lives, with its leader's identity in it. A launch file that wants nothing is the tombstone
at which a late launcher ends.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gnomon.hosting.host import Started
from gnomon.hosting.session import Leader
from gnomon.model.layout import Layout


class Launch(msgspec.Struct, frozen=True):
    """One launch: `token` is its own; `started` None makes it a tombstone."""

    token: str | None
    started: Started | None
    # Whether the port is one of the reserved range, to be given back.
    is_port_reserved: bool = False


_TOMBSTONE = Launch(token=None, started=None)


class InstanceFiles:
    """The files of one instance."""

    def __init__(self, data_dir: Path, instance_id: str) -> None:
        self.directory = data_dir / "instances" / instance_id
        # Where the program is started: what it writes by relative paths stays its own.
        self.work = self.directory / "work"
        self.log = Layout(data_dir).instance_log(instance_id)
        self._lock = self.directory / "lock"
        self._launch = self.directory / "launch"

    def make(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def read_launch(self) -> Launch | None:
        """The launch that is wanted; None if there never was one."""
        try:
            launch = msgspec.json.decode(self._launch.read_bytes(), type=Launch)
        except FileNotFoundError:
            return None
        return launch if launch.started is not None else None

    def write_launch(self, launch: Launch) -> None:
        fresh = self._launch.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(launch))
        fresh.replace(self._launch)

    def bury(self) -> None:
        """Write the tombstone. Certain only while the lock is held."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_launch(_TOMBSTONE)

    def read_leader(self) -> Leader | None:
        """Who holds the lock, or held it last; None while a launcher has not said so yet."""
        try:
            return msgspec.json.decode(self._lock.read_bytes(), type=Leader)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, if it is free, for as long as the block takes: the value says whether."""
        self.directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether some process holds the lock."""
        if not self._lock.exists():
            return False
        with self.locked() as is_ours:
            return not is_ours
