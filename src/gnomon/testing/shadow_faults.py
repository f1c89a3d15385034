"""What a shadow may do that is not answering: behaviours for a `FakeUpstream`, by name."""

from __future__ import annotations

import asyncio

from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import Behaviour, Received

_PACE_S = 1.0
_PART = b"x" * 1_000_000


async def _trickle(_request: Received, writer: asyncio.StreamWriter) -> None:
    """A byte a second."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(_PACE_S)


async def _answer_100_mb(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        writer.write(_PART)
        await writer.drain()


FAULTS: dict[str, Behaviour] = {
    "nothing": fake_upstream.echo,
    "hangs": fake_upstream.hang,
    "trickles": _trickle,
    "answers garbage": fake_upstream.raw(b"\0\xff nonsense \r\n\r\n"),
    "closes within an answer": fake_upstream.raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", ends=True
    ),
    "resets": fake_upstream.reset,
    "answers 100 MB": _answer_100_mb,
}
