"""A peer: a proxy that is known for mirroring, with one worker, between load and upstreams.

The programs are in wheels (the extra `bench`), so that a run needs no more than pip.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.kit.nginx import HOST, free_port
from bench.kit.process import cpu_s, running, wait_until
from bench.kit.report import CannotMeasure

_ANSWER_TIME_LIMIT_S = 5.0


@dataclass(frozen=True)
class Peer:
    """One that runs."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        return cpu_s(self.pid)


@contextlib.contextmanager
def running_peer(
    name: str,
    directory: Path,
    cores: frozenset[int],
    configuration: Callable[[int], str],
    command: Callable[[Path], Sequence[str]],
) -> Iterator[Peer]:
    """Started with `configuration(port)` in a file, by `command(file)`."""
    directory.mkdir()
    port = free_port()
    file = directory / "configuration"
    file.write_text(configuration(port))
    log = directory / "log"
    with running(command(file), cores, log) as process:
        wait_until(process, log, name, lambda: _listens(port))
        yield Peer(f"http://{HOST}:{port}/invocations", process.pid)


def program(package: str, path: str) -> str:
    """The program at `path` in an installed package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise CannotMeasure(f"The package {package} is missing: run scripts/bench router --peers.")
    return str(Path(found.origin).parent / path)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_TIME_LIMIT_S):
            return True
    except OSError:
        return False
