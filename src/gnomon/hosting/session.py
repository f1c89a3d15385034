"""Processes as Linux shows them in /proc: which one is meant, and those of an instance.

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
from typing import Protocol

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Identity(Protocol):
    """Which process is meant: exact even when pids are used again or the machine restarts.

    `start_ticks` is field 22 of proc(5)'s stat.
    """

    @property
    def pid(self) -> int: ...

    @property
    def start_ticks(self) -> int: ...

    @property
    def boot_id(self) -> str: ...


@dataclass(frozen=True)
class Leader:
    """The `Identity` of a session's leader; `token` is the launch that it came from."""

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
    # Memory that is in RAM, pages that it shares with other processes among it.
    resident_bytes: int
    # CPU time of its own and of children that it has waited for, in seconds.
    cpu_s: float


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
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_s=sum(map(int, fields[11:15])) / _TICKS_PER_S,
    )


def is_alive(process: Identity) -> bool:
    """Whether the process itself runs; a zombie counts as dead."""
    found = stat(process.pid)
    return (
        found is not None
        and not found.is_zombie
        and found.start_ticks == process.start_ticks
        and process.boot_id == boot_id()
    )


def send(process: Identity, number: signal.Signals) -> bool:
    """Send a signal to this process and to no other; False if it does not run."""
    try:
        # From here on the descriptor means one process, whichever has the pid later.
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def kill_session(leader_pid: int) -> bool:
    """SIGKILL every process of a session; True if none was alive.

    Only for a leader that is certain to be the one meant: a child that nobody has waited for.
    """
    is_empty = True
    for pid in _members(leader_pid):
        is_empty = False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return is_empty


def kill_session_of(leader: Leader) -> bool:
    """The same for a leader known by its identity; a stranger that has its pid now is let live."""
    return is_stranger(leader) or kill_session(leader.pid)


def session_lives(leader: Leader) -> bool:
    """Whether any process of the leader's session runs, the leader or another."""
    return not is_stranger(leader) and next(_members(leader.pid), None) is not None


def is_stranger(leader: Leader) -> bool:
    """Whether the leader's pid is certainly another's now: then its session has ended."""
    if leader.boot_id != boot_id():
        return True
    found = stat(leader.pid)
    return found is not None and found.start_ticks != leader.start_ticks


def _members(session: int) -> Iterator[int]:
    for process in processes():
        if process.session == session and not process.is_zombie:
            yield process.pid


def processes() -> Iterator[ProcessStat]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone, and there are many
        if name.isdecimal():
            process = stat(int(name))
            if process is not None:
                yield process
