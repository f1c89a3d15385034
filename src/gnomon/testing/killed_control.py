"""A real control process that SIGKILLs itself at a boundary, once.

The boundaries are those of `gnomon.testing.faults`, by the same seams. Nothing in Gnomon knows of
it: a `sitecustomize` on PYTHONPATH, which the interpreter runs in each process before its program,
arms it in the one that is to be control.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from functools import partial
from pathlib import Path

from gnomon.control import transactions
from gnomon.hosting import choice
from gnomon.testing.faults import (
    Boundary,
    Faults,
    Life,
    Moment,
    MortalHost,
    MortalTransactions,
    begin_in_this_context,
    overheard_plans,
)

SITE_CUSTOMIZE = """
import sys

if sys.orig_argv[-2:] == ["-m", "gnomon.app.control"]:
    from gnomon.testing.killed_control import arm

    arm()
"""
# The boundary as `str` gives it, and a file that is there once it was reached.
BOUNDARY = "KILLED_CONTROL_AT"
MARKER = "KILLED_CONTROL_MARKER"


def environment(directory: Path, boundary: Boundary) -> dict[str, str]:
    """What to run Gnomon with; `directory` gets a file for it, and the marker `killed`."""
    (directory / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    return {
        "PYTHONPATH": str(directory),
        BOUNDARY: str(boundary),
        MARKER: str(directory / "killed"),
    }


class KilledOnce(Faults):
    """Kills this process where it is to die, unless an earlier one was killed there."""

    def __init__(self, boundary: str, marker: Path) -> None:
        super().__init__()
        self._boundary = boundary
        self._marker = marker

    def strikes(self, action: type, moment: Moment) -> bool:
        super().strikes(action, moment)
        boundary = Boundary(action, moment, self.reached[action, moment])
        if str(boundary) == self._boundary and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def arm() -> None:
    """To be called before control's own program is read."""
    life = Life(KilledOnce(os.environ[BOUNDARY], Path(os.environ[MARKER])))
    host = choice.HostByRuntime
    transactions.Transactions = partial(MortalTransactions, life=life)  # type: ignore[misc, assignment]
    choice.HostByRuntime = lambda *hosts: MortalHost(host(*hosts), life)  # type: ignore[misc, assignment]
    begin_in_this_context(life)
    stack = contextlib.ExitStack()
    stack.enter_context(overheard_plans())
    atexit.register(stack.close)
