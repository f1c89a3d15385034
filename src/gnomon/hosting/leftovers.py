"""Ends the local instances that nobody looks after any more.

Control stops its instances when Gnomon goes down. This is for when it could not: because it died,
hung or had not begun. What there is comes from the instances' files alone (`gnomon.hosting.files`),
so that no database is needed. Whoever calls this makes sure that no control runs.
"""

import signal
import time
from pathlib import Path

from gnomon.hosting.files import InstanceFiles
from gnomon.hosting.session import is_alive, kill_session_of, send, session_lives

# How often ending instances are looked at: short against any drain, long against what a look
# costs.
_POLL_S = 0.05

# After SIGKILL a session is gone in milliseconds unless the kernel itself hangs.
_KILL_PATIENCE_S = 5.0


def living(data_dir: Path) -> list[str]:
    """The instances of which something runs, or is about to."""
    return [name for name in _names(data_dir) if _lives(InstanceFiles(data_dir, name))]


def end(data_dir: Path, time_limit_s: float) -> list[str]:
    """End every instance: SIGTERM, and after `time_limit_s` SIGKILL for its whole session.

    Returns those that it found alive; whatever `living` says afterwards could not be ended.
    """
    found = [name for name in _names(data_dir) if not _is_buried(InstanceFiles(data_dir, name))]
    left = [InstanceFiles(data_dir, name) for name in found]
    asked: set[str] = set()
    deadline_s = time.monotonic() + time_limit_s
    while left and time.monotonic() < deadline_s + _KILL_PATIENCE_S:
        for files in left:
            _push(files, asked, is_late=time.monotonic() >= deadline_s)
        time.sleep(_POLL_S)
        left = [files for files in left if _lives(files)]
    return found


def _names(data_dir: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in (data_dir / "instances").iterdir())
    except FileNotFoundError:
        return []


def _is_buried(files: InstanceFiles) -> bool:
    """Whether nothing of it runs; from then on a launcher that comes late ends by itself."""
    if _lives(files):
        return False
    if files.read_launch() is None:
        return True
    with files.locked() as is_ours:
        if is_ours or not _lives(files):
            files.bury()
            return True
    # A launcher came up between the look and the lock.
    return False


def _lives(files: InstanceFiles) -> bool:
    leader, launch = files.read_leader(), files.read_launch()
    if leader is not None and session_lives(leader):
        return True
    if leader is not None and launch is not None and leader.token == launch.token:
        # It came up and has gone: what holds the lock has left the session, and is no instance.
        return False
    return files.is_locked()


def _push(files: InstanceFiles, asked: set[str], *, is_late: bool) -> None:
    leader = files.read_leader()
    if leader is None:
        # Its launcher has the lock and is about to say who it is.
        return
    if is_late or not is_alive(leader):
        # The leader's end is the end of the rest of its session.
        kill_session_of(leader)
    elif leader.token not in asked and send(leader, signal.SIGTERM):
        asked.add(leader.token)
