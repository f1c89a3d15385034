"""`gnomon down`: asks the supervisor to end, waits until it has, and sees that nothing is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from gnomon import settings as settings_module
from gnomon.cli import former
from gnomon.cli.running import Running, hold, is_held
from gnomon.cli.time_limits import time_limits
from gnomon.errors import GnomonError
from gnomon.hosting import leftovers
from gnomon.hosting.session import stat
from gnomon.model.layout import Layout

# What the supervisor itself needs beside its processes, in seconds.
_SLACK_S = 10.0
_LOOK_S = 0.05


class StillRunning(GnomonError):
    """The supervisor, or something of its, has not ended in time."""


def end(running: Running, environ: Mapping[str, str]) -> None:
    """Returns when nothing of that Gnomon runs. Raises StillRunning."""
    layout = Layout(Path(running.data_dir))
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise GnomonError(
            f"The Gnomon on {running.data_dir} belongs to another user (process {running.pid})."
        ) from error
    limit_s = running.end_time_limit_s + _SLACK_S
    deadline_s = time.monotonic() + limit_s
    while is_held(layout) or _runs(running.pid):
        if time.monotonic() > deadline_s:
            raise StillRunning(
                f"The Gnomon on {running.data_dir} (process {running.pid}) has not ended within "
                f"{limit_s:.0f} s."
            )
        time.sleep(_LOOK_S)
    end_what_is_left(layout.root, environ)


def end_what_is_left(data_dir: Path, environ: Mapping[str, str]) -> bool:
    """Ends what a supervisor that was killed has left. False if there was nothing.

    Raises StillRunning with what could not be ended, DataDirectoryError if a Gnomon runs there.
    """
    if not former.left(data_dir) and not leftovers.living(data_dir):
        return False
    settings = settings_module.load(data_dir, environ)
    with hold(Layout(data_dir)):
        former.end(data_dir, time_limits(settings).router_s)
        leftovers.end(data_dir, settings.hosting.stop_time_limit_s)
        left = what_is_left(data_dir)
        if left:
            raise StillRunning(
                f"The Gnomon on {data_dir} has ended, but not all of it: {', '.join(left)}."
            )
        former.forget(data_dir)
    return True


def what_is_left(data_dir: Path) -> list[str]:
    """What runs there besides a supervisor, in words."""
    return [
        *(f"{process.name} (process {process.pid})" for process in former.left(data_dir)),
        *(f"instance {name}" for name in leftovers.living(data_dir)),
    ]


def _runs(pid: int) -> bool:
    found = stat(pid)
    return found is not None and not found.is_zombie
