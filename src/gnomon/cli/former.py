"""What runs, from its first moment on; and what a supervisor that was killed has left.

`processes.json` names every process that the supervisor has started, also before `gnomon.json`
says that all is up, and stays if the supervisor is killed. Control and collector see that it is
gone and end by themselves; routers serve on until the next `gnomon up`, whose routers take their
place, or `gnomon down` ends them. Instances are left: control adopts them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gnomon.cli.running import Process
from gnomon.hosting.session import is_alive, send

# How the S3 server beside is called among the processes.
STORE = "seaweedfs"
# What control and collector have for what they are doing when the supervisor goes, in seconds.
_ORPHAN_S = 10.0
# After SIGKILL a process is gone in milliseconds unless the kernel itself hangs, in seconds.
_KILL_PATIENCE_S = 5.0
_LOOK_S = 0.05


def record(data_dir: Path, processes: Sequence[Process]) -> None:
    """Replaces the file as a whole."""
    path = _file(data_dir)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(processes), indent=1))
    partial.replace(path)


def forget(data_dir: Path) -> None:
    """All of them have ended."""
    _file(data_dir).unlink(missing_ok=True)


def left(data_dir: Path) -> list[Process]:
    """Those of the recorded processes that run."""
    try:
        recorded = msgspec.json.decode(_file(data_dir).read_bytes(), type=list[Process])
    except (OSError, msgspec.MsgspecError):
        return []
    return [process for process in recorded if is_alive(process)]


def end(processes: Sequence[Process], router_limit_s: float) -> list[Process]:
    """Ends these; gives those that could not be ended. The caller holds the data directory.

    Routers answer what they have (`router_limit_s` at most) and go.
    """
    # Control would stop the instances at a SIGTERM; without a supervisor it leaves them.
    for process in processes:
        if is_router(process) or process.name == STORE:
            send(process, signal.SIGTERM)
    began_s = time.monotonic()
    while living := [process for process in processes if is_alive(process)]:
        waited_s = time.monotonic() - began_s
        late = [p for p in living if waited_s > (router_limit_s if is_router(p) else _ORPHAN_S)]
        for process in late:
            send(process, signal.SIGKILL)
        if waited_s > max(router_limit_s, _ORPHAN_S) + _KILL_PATIENCE_S:
            break
        time.sleep(_LOOK_S)
    return living


def is_router(process: Process) -> bool:
    return process.name.startswith("router")


def _file(data_dir: Path) -> Path:
    return data_dir / "processes.json"
