"""The directory of one incarnation in the spool, and the lock that says it lives: a router's, or
control's, which hands over what it measures.

A directory appears under its name with its lock already held: until then its name starts with a
dot, and readers pass over it. So a lock that is free means that the writer is gone for good.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace
from pathlib import Path

from gnomon.spool.segment import CLOSED_SUFFIX, OPEN_SUFFIX

LOCK_NAME = "lock"
# The last thing that a writer leaves when it ended in order: nothing of it is missing.
END_NAME = "ended"
# How the names of control's incarnations begin: no barrier waits for one, and no record is
# missing where it was cut off.
CONTROL_PREFIX = "control-"


@dataclass(frozen=True)
class SegmentFile:
    """A segment as found: `closed` by its writer, or still written (or left so by a dead one)."""

    number: int
    path: Path
    closed: bool


@dataclass(frozen=True)
class Backlog:
    """Closed segments that the collector has not taken over: how much, and since when the oldest
    waits (epoch seconds; None if none does).
    """

    waiting_bytes: int
    since_s: float | None


def claim(root: Path, incarnation_id: str) -> tuple[Path, int]:
    """Make the directory of a new incarnation; the second is the descriptor that holds its lock."""
    root.mkdir(parents=True, exist_ok=True)
    unclaimed = root / f".{incarnation_id}"
    unclaimed.mkdir(mode=0o700)
    try:
        lock = os.open(unclaimed / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # On a full disk it is tried again and again.
        unclaimed.rmdir()
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        directory = root / incarnation_id
        unclaimed.rename(directory)
    except BaseException:
        os.close(lock)
        raise
    return directory, lock


def incarnations(root: Path) -> list[Path]:
    """The directories of all incarnations in the spool, oldest id first."""
    if not root.is_dir():
        return []
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def routers_of(root: Path) -> frozenset[str]:
    """The ids of the routers' incarnations in the spool."""
    names = (path.name for path in incarnations(root))
    return frozenset(name for name in names if not name.startswith(CONTROL_PREFIX))


def is_alive(directory: Path) -> bool:
    """Whether the incarnation that writes `directory` still lives."""
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def mark_end(directory: Path) -> None:
    """Say that the writer of `directory` wrote all that it had."""
    (directory / END_NAME).touch(mode=0o600)


def cut_off_at_s(directory: Path) -> float | None:
    """When the dead router of `directory` wrote last (epoch seconds); None if it ended in order.

    Of one whose segments are all gone already, about when: the last of them went soon after.
    """
    if directory.name.startswith(CONTROL_PREFIX) or (directory / END_NAME).exists():
        return None
    written = [segment.path.stat().st_mtime for segment in segments(directory)]
    return max(written, default=directory.stat().st_mtime)


def backlog(root: Path) -> Backlog:
    """What waits in the whole spool."""
    found = []
    for directory in incarnations(root):
        # The collector takes files and directories away meanwhile.
        with contextlib.suppress(FileNotFoundError):
            for path in list(directory.iterdir()):
                if path.suffix == CLOSED_SUFFIX:
                    with contextlib.suppress(FileNotFoundError):
                        found.append(path.stat())
    return Backlog(
        sum(status.st_size for status in found),
        min((status.st_mtime for status in found), default=None),
    )


def size_bytes(directory: Path) -> int:
    """What the files of an incarnation hold; one that goes meanwhile holds nothing."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total


def segments(directory: Path) -> list[SegmentFile]:
    """The segments in an incarnation's directory, in the order in which they were written."""
    found: dict[int, SegmentFile] = {}
    for path in directory.iterdir():
        if path.suffix in {OPEN_SUFFIX, CLOSED_SUFFIX} and path.stem.isdecimal():
            number = int(path.stem)
            closed = path.suffix == CLOSED_SUFFIX
            # A listing that ran beside a rename may show both names; the file has the later one.
            if closed or number not in found:
                found[number] = SegmentFile(number, path, closed)
    ordered = [found[number] for number in sorted(found)]
    # A writer opens the next segment only when it is done with the one before.
    return [replace(segment, closed=True) for segment in ordered[:-1]] + ordered[-1:]
