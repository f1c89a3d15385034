"""A shadow with a fault, as a process of its own: `python -m bench.kit.faulty PORT FAULT`.

At the CPU weight that Gnomon gives its shadows' instances.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.kit.nginx import HOST
from bench.kit.process import running, wait_until
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.shadow_faults import FAULTS

_NICE = 10


@contextlib.contextmanager
def running_faulty(directory: Path, cores: frozenset[int], fault: str) -> Iterator[int]:
    """The port of one that has the fault, until the block ends."""
    directory.mkdir()
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    log = directory / "faulty.log"
    command = [sys.executable, "-m", "bench.kit.faulty", str(port), fault]
    with running(command, cores, log) as process:
        wait_until(process, log, f"The shadow that {fault}", lambda: _listens(port))
        yield port


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


async def _serve(port: int, fault: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with FakeUpstream(FAULTS[fault], port=port):
        await ended.wait()


if __name__ == "__main__":
    os.nice(_NICE)
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
