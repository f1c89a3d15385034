"""The processes of an instance, as Linux shows them in /proc.

An instance is a session: its leader and all that the leader started. While any process of a
session lives, the kernel gives the leader's pid to nobody else; once all are gone the pid may be a
stranger's, which its start time tells.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Leader:
    """Which process leads a session: exact even when pids are used again or the machine restarts.

    `start_ticks` is field 22 of proc(5)'s stat; `token` is the launch that it came from.
    """

    pid: int
    start_ticks: int
    boot_id: str
    token: str


@dataclass(frozen=True)
class ProcessStat:
    pid: int
    is_zombie: bool
    session: int
    start_ticks: int


def boot_id() -> str:
    """The id of the machine's present run."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stat(pid: int) -> ProcessStat | None:
    """What /proc says of a process, None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(b")")[2].split()
    return ProcessStat(
        pid=pid,
        is_zombie=fields[0] in (b"Z", b"X"),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def is_alive(leader: Leader) -> bool:
    """Whether the leader itself runs; a zombie counts as dead."""
    found = stat(leader.pid)
    return (
        found is not None
        and not found.is_zombie
        and found.start_ticks == leader.start_ticks
        and leader.boot_id == boot_id()
    )


def kill_session(leader_pid: int) -> bool:
    """SIGKILL every process of a session; True if none was alive.

    Only for a leader that is certain to be the one meant: a child that nobody has waited for.
    """
    is_empty = True
    for process in _processes():
        if process.session == leader_pid and not process.is_zombie:
            is_empty = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    return is_empty


def kill_session_of(leader: Leader) -> bool:
    """The same for a leader known by its identity; a stranger that has its pid now is let live."""
    if leader.boot_id != boot_id():
        return True
    found = stat(leader.pid)
    if found is not None and found.start_ticks != leader.start_ticks:
        return True
    return kill_session(leader.pid)


def _processes() -> Iterator[ProcessStat]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone, and there are many
        if name.isdecimal():
            process = stat(int(name))
            if process is not None:
                yield process
