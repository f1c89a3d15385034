"""A hung server: takes connections and reads what comes, and never answers.

Run as `python -m bench.kit.silent FD`, with a listening socket as that descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.kit.nginx import HOST
from bench.kit.process import running


class _Silent(asyncio.Protocol):
    """What is not overridden reads and forgets."""


@contextlib.contextmanager
def running_silent(directory: Path, cores: frozenset[int]) -> Iterator[int]:
    """Its port."""
    with socket.create_server((HOST, 0), backlog=4096) as listener:
        number = listener.fileno()
        command = [sys.executable, "-m", "bench.kit.silent", str(number)]
        with running(command, cores, directory / "silent.log", pass_fds=(number,)):
            yield int(listener.getsockname()[1])


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port on which nothing listens, and which nobody else gets."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield int(bound.getsockname()[1])


async def _serve(descriptor: int) -> None:
    listener = socket.socket(fileno=descriptor)
    server = await asyncio.get_running_loop().create_server(_Silent, sock=listener, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
