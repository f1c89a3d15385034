"""`gnomon down`: asks the supervisor to end, and waits until it has."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gnomon.cli.running import Running, is_held
from gnomon.errors import GnomonError
from gnomon.hosting.session import stat
from gnomon.model.layout import Layout

# Routers, collector and control each have their time to end in order; together at most this.
_TIME_LIMIT_S = 180.0
_LOOK_S = 0.05


class StillRunning(GnomonError):
    """The supervisor has not ended in time."""


def _runs(pid: int) -> bool:
    found = stat(pid)
    return found is not None and not found.is_zombie


def end(running: Running) -> None:
    """Returns when nothing of that Gnomon runs. Raises StillRunning after three minutes."""
    layout = Layout(Path(running.data_dir))
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise GnomonError(
            f"The Gnomon on {running.data_dir} belongs to another user (process {running.pid})."
        ) from error
    deadline = time.monotonic() + _TIME_LIMIT_S
    while is_held(layout) or _runs(running.pid):
        if time.monotonic() > deadline:
            raise StillRunning(
                f"The Gnomon on {running.data_dir} (process {running.pid}) has not ended within "
                f"{_TIME_LIMIT_S:.0f} s."
            )
        time.sleep(_LOOK_S)
