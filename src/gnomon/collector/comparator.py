"""A user's comparator: a function in a file of theirs, run in a child process (`comparing`).

It can neither hold the collector up nor end it: a pair has 100 ms, and a child that took longer,
or died, is ended. Pairs are counted as unknown then, and another child is started after a rest.
"""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import structlog

from gnomon.collector.comparing import Answer, Said, receive, send
from gnomon.errors import SettingsError
from gnomon.model.analysis import DEFAULT_COMPARATOR, NAMELESS
from gnomon.settings import AnalysisDefaults

# What a pair may take, in seconds.
_PAIR_S = 0.1
# What loading the file may take, in seconds: it may import much.
_START_S = 10.0
# After a child was lost, in seconds: a batch of pairs that are all slow would hold up what is
# behind it for minutes.
_REST_S = 5.0
# How often it is logged that a function fails, in seconds: it may do so with every pair.
_LOGGED_EVERY_S = 60.0

_LOG = structlog.get_logger(__name__)


def functions_named(given: AnalysisDefaults) -> dict[str, tuple[str, str]]:
    """File and function by the name that an analysis has of each. Raises SettingsError where there
    is no such function; files are read and not run.
    """
    named = {
        DEFAULT_COMPARATOR: ("[analysis] comparator", given.comparator),
        **{name: (f"[analysis.comparators] {name}", of) for name, of in given.comparators.items()},
    }
    if taken := given.comparators.keys() & set(NAMELESS):
        raise SettingsError(
            f"[analysis.comparators] cannot name a function {min(taken)}: that one has a meaning "
            "already."
        )
    if not given.comparator:
        del named[DEFAULT_COMPARATOR]
    return {name: _function(*setting) for name, setting in named.items()}


def _function(setting: str, comparator: object) -> tuple[str, str]:
    file, _, function = str(comparator).rpartition(":")
    wanted = f"{setting} is to be /path/to/file.py:function"
    if not Path(file).is_absolute() or not function.isidentifier():
        raise SettingsError(f"{wanted}, not {comparator}.")
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise SettingsError(f"{wanted}, and {file} cannot be loaded: {error}.") from error
    if not any(isinstance(one, ast.FunctionDef) and one.name == function for one in tree.body):
        raise SettingsError(f"{wanted}, and {file} has no function {function}.")
    return file, function


class Unknown(Exception):
    """The comparator says nothing of this pair; `reason` is as pairs are counted, `why` what it
    raised instead, or how it ended.
    """

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason
        self.why = why


class UserComparator:
    """One child at a time, started with the first pair, ended by `close`. For one thread."""

    def __init__(self, file: str, function: str) -> None:
        self._command = [sys.executable, "-m", "gnomon.collector.comparing", file, function]
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._resting_until_s = 0.0
        self._reason = self._why = ""
        self._silent_until_s = 0.0

    def distances(self, production: Answer, shadow: Answer) -> dict[str, float]:
        """How far apart they are by path, empty for the same. Raises Unknown."""
        if time.monotonic() < self._resting_until_s:
            raise Unknown(self._reason, self._why)
        try:
            connection = self._connection or self._start()
            connection.settimeout(_PAIR_S)
            send(connection, (production, shadow))
            said = msgspec.msgpack.decode(receive(connection), type=Said)
        except TimeoutError:
            raise self._lost("comparator_slow", "it took too long") from None
        except (EOFError, OSError) as error:
            raise self._lost("comparator_failed", str(error) or "its process ended") from None
        if said.failed:
            raise self._unknown("comparator_failed", said.failed)
        return said.distances

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._connection = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._connection = ours
        with theirs:
            self._child = subprocess.Popen(self._command, stdin=theirs.fileno())
        ours.settimeout(_START_S)
        said = msgspec.msgpack.decode(receive(ours), type=Said)
        if said.failed:
            raise OSError(said.failed)
        return ours

    def _lost(self, reason: str, why: str) -> Unknown:
        self.close()
        self._resting_until_s = time.monotonic() + _REST_S
        self._reason, self._why = reason, why
        return self._unknown(reason, why)

    def _unknown(self, reason: str, why: str) -> Unknown:
        now_s = time.monotonic()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _LOGGED_EVERY_S
            _LOG.warning(reason, reason=why)
        return Unknown(reason, why)
