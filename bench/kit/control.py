"""A real control process, started as the supervisor starts it, on a state database that is there.

No router is behind it: nothing but its API and its loop is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.kit.process import cpu_s, running, wait_until
from bench.kit.report import CannotMeasure
from gnomon import settings_reading
from gnomon.app.child import KEY_BYTES, VARIABLE, Hand
from gnomon.settings import ServerSettings, Settings

_HOST = "127.0.0.1"
_KEY = bytes(KEY_BYTES)
_ANSWER_TIME_LIMIT_S = 30.0
# After its start control looks at every endpoint once. That is over when it used less than this
# share of a core for so long (s).
_QUIET_SHARE = 0.1
_QUIET_S = 1.0
_QUIET_TIME_LIMIT_S = 90.0


class ControlApi:
    """SageMaker's API of the control that runs, by one kept-alive connection and no SDK."""

    def __init__(self, port: int, pid: int) -> None:
        self._pid = pid
        self._connection = http.client.HTTPConnection(_HOST, port, timeout=_ANSWER_TIME_LIMIT_S)

    def call(self, operation: str, params: Mapping[str, Any]) -> tuple[float, Any]:
        """How long the answer took, in milliseconds, and what it was."""
        body = json.dumps(params).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"SageMaker.{operation}",
        }
        began_s = time.perf_counter()
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took_ms = (time.perf_counter() - began_s) * 1000
        if answer.status != 200:
            raise CannotMeasure(f"{operation} was answered by {answer.status}: {text.decode()}")
        return took_ms, json.loads(text) if text else {}

    def cpu_ms(self) -> float:
        """CPU time of its threads so far: to the microsecond, which `cpu_s` is not (proc(5))."""
        threads = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def running_control(
    directory: Path, cores: frozenset[int]
) -> Iterator[tuple[ControlApi, float | None]]:
    """Control with the default settings on a port of its own, once it has nothing to do, and how
    long that took from its start (s); None if it was still busy when that was waited for no longer.
    """
    log = directory / "control.log"
    with contextlib.ExitStack() as stack:
        # Kept bound, so that nothing else gets the port; only control listens on it.
        reserved = stack.enter_context(socket.socket())
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((_HOST, 0))
        port = reserved.getsockname()[1]
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        stack.callback(os.close, reading)
        os.write(writing, _KEY)
        settings = Settings(data_dir=directory, server=ServerSettings(_HOST, control_port=port))
        began_s = time.monotonic()
        process = stack.enter_context(
            running(
                [sys.executable, "-m", "gnomon.app.control"],
                cores,
                log,
                environ={VARIABLE: Hand(settings_reading.encode(settings), reading).encode()},
                pass_fds=(reading,),
            )
        )
        wait_until(process, log, "Control", lambda: _listens(port))
        is_quiet = _until_quiet(process.pid)
        started_s = time.monotonic() - began_s - _QUIET_S if is_quiet else None
        api = ControlApi(port, process.pid)
        stack.callback(api.close)
        yield api, started_s


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _until_quiet(pid: int) -> bool:
    until_s = time.monotonic() + _QUIET_TIME_LIMIT_S
    used_s = cpu_s(pid)
    while True:
        time.sleep(_QUIET_S)
        before_s, used_s = used_s, cpu_s(pid)
        if used_s - before_s < _QUIET_SHARE * _QUIET_S:
            return True
        if time.monotonic() > until_s:
            return False
