"""`gnomon down` and `gnomon restart`: ask the supervisor, wait until it has done so, and see that
nothing is left of what was to end.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from gnomon import settings_reading
from gnomon.cli import former
from gnomon.cli.running import Running, hold, is_held, read
from gnomon.cli.time_limits import time_limits
from gnomon.errors import GnomonError
from gnomon.hosting import leftovers
from gnomon.hosting.session import stat
from gnomon.model.layout import Layout

# What the supervisor itself needs beside its processes, in seconds.
_SLACK_S = 10.0
_LOOK_S = 0.05
# What the supervisor takes for the order to begin anew.
RESTART_SIGNAL = signal.SIGUSR2


class StillRunning(GnomonError):
    """The supervisor, or something of its, has not ended in time."""


def end(running: Running, environ: Mapping[str, str]) -> None:
    """Returns when nothing of that Gnomon runs. Raises StillRunning."""
    layout = Layout(Path(running.data_dir))
    _send(running, signal.SIGTERM)
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


def restart(running: Running, environ: Mapping[str, str]) -> Running:
    """Has that Gnomon begin anew, with its settings and code as they are now; traffic goes on.

    Returns when all of it answers. Raises SettingsError if the settings in its directory are not
    sound, and then nothing was changed; StillRunning if it does not come up.
    """
    data_dir = Path(running.data_dir)
    settings_reading.load(data_dir, environ)
    before = {process.pid for process in running.processes}
    _send(running, RESTART_SIGNAL)
    limit_s = running.end_time_limit_s + _SLACK_S
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        found = read(data_dir)
        if found is not None and before.isdisjoint(process.pid for process in found.processes):
            return found
        if not _runs(running.pid):
            raise StillRunning(
                f"The Gnomon on {data_dir} has not come up again; what it said tells why. Its "
                "routers and instances serve on: start it with `gnomon up`."
            )
        time.sleep(_LOOK_S)
    raise StillRunning(f"The Gnomon on {data_dir} has not come up within {limit_s:.0f} s.")


def _send(running: Running, number: signal.Signals) -> None:
    try:
        os.kill(running.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise GnomonError(
            f"The Gnomon on {running.data_dir} belongs to another user (process {running.pid})."
        ) from error


def end_what_is_left(data_dir: Path, environ: Mapping[str, str]) -> bool:
    """Ends what a supervisor that was killed has left. False if there was nothing.

    Raises StillRunning with what could not be ended, DataDirectoryError if a Gnomon runs there.
    """
    if not former.left(data_dir) and not leftovers.living(data_dir):
        return False
    settings = settings_reading.load(data_dir, environ)
    with hold(Layout(data_dir)):
        former.end(former.left(data_dir), time_limits(settings).router_s)
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
