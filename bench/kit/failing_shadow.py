"""A shadow that fails at random, but the same way each time: chance is handed to it.

It answers, answers 500, is slow, hangs, resets the connection, and now and then goes away for a
moment, during which connecting is refused. Pings are answered, so that it comes back into use.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from random import Random

_HOST = "127.0.0.1"
_ANSWER = b'{"predictions": [{"label": "late", "score": 0.8125}]}'
# What becomes of a request, and how likely: most are answered, or nothing else would be seen.
_FATES = {"answered": 0.70, "error": 0.12, "slow": 0.08, "hung": 0.05, "reset": 0.05}
# Seconds.
_SLOW_S = (0.05, 1.0)
_STAYS_S = (2.0, 5.0)
_IS_AWAY_S = (0.2, 1.0)


class FailingShadow:
    """Listens on `port` until its `run` is cancelled; `fates` counts what became of requests, and
    how often it was away.
    """

    def __init__(self, random: Random) -> None:
        self.fates: Counter[str] = Counter()
        self.port = 0
        self._random = random
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, _HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def run(self) -> None:
        """Come and go until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._random.uniform(*_STAYS_S))
                await self._leave()
                self.fates["away"] += 1
                await asyncio.sleep(self._random.uniform(*_IS_AWAY_S))
                await self.listen()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._connections.add(task)
        try:
            # Away, or the router hung up: there is nobody to tell.
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
            ):
                while not writer.is_closing():
                    await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_length(head))
        if head.startswith(b"GET "):
            writer.write(_answer(200))
            return
        (fate,) = self._random.choices(tuple(_FATES), tuple(_FATES.values()))
        self.fates[fate] += 1
        if fate == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return
        if fate == "hung":
            # Until the router gives it up.
            await reader.read()
            writer.close()
            return
        if fate == "slow":
            await asyncio.sleep(self._random.uniform(*_SLOW_S))
        writer.write(_answer(500 if fate == "error" else 200))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _answer(status: int) -> bytes:
    return b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(_ANSWER),
        _ANSWER,
    )
