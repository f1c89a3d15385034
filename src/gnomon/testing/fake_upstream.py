"""A server on a real socket that answers as a test says: a model, a shadow, control.

What a real one does is in `gnomon.serving`; this one can also hang, break off and talk nonsense.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gnomon.testing.raw_http import end_connection


@dataclass(frozen=True)
class Received:
    """A request as it came. Header names are in lower case; `connection` counts from 0."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer every request so; `content_type` becomes Content-Type, and so on."""

    async def behave(_request: Received, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} Said\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return behave


def raw(data: bytes, *, ends: bool = False) -> Behaviour:
    """Write these bytes for every request, then close the connection if it `ends`."""

    async def behave(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if ends:
            writer.close()

    return behave


async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with the request's body."""
    await answer(200, request.body, content_type="application/octet-stream")(request, writer)


async def hang(_request: Received, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def reset(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Break the connection off as a dying process would."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Gate:
    """A behaviour that answers as another does once it is opened."""

    def __init__(self, behaviour: Behaviour = echo) -> None:
        self._behaviour = behaviour
        self._is_open = asyncio.Event()

    def open(self) -> None:
        self._is_open.set()

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        await self._is_open.wait()
        await self._behaviour(request, writer)


class Faucet:
    """A behaviour that streams: one chunk for each `drip`, until `close` or `burst`.

    With several requests at once, all get the same.
    """

    def __init__(self, content_type: str = "text/plain") -> None:
        self._content_type = content_type
        self._drips: list[bytes] = []
        self._more = asyncio.Condition()
        self._end: bytes | None = None

    async def drip(self, part: bytes) -> None:
        async with self._more:
            self._drips.append(b"%x\r\n%b\r\n" % (len(part), part))
            self._more.notify_all()

    async def close(self) -> None:
        """The answer is whole."""
        await self._stop(b"0\r\n\r\n")

    async def burst(self) -> None:
        """The connection ends within the answer."""
        await self._stop(b"")

    async def _stop(self, end: bytes) -> None:
        async with self._more:
            self._end = end
            self._more.notify_all()

    async def __call__(self, _request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
            % self._content_type.encode()
        )
        written = 0
        while True:
            async with self._more:
                await self._more.wait_for(
                    lambda: written < len(self._drips) or self._end is not None  # noqa: B023
                )
            if written == len(self._drips):
                break
            writer.write(self._drips[written])
            written += 1
            await writer.drain()
        writer.write(self._end or b"")
        await writer.drain()
        if not self._end:
            writer.close()


@dataclass
class FakeUpstream:
    """Serves while it is entered; `behaviour` may be changed at any time.

    Entered again, it listens on the port that it had.
    """

    behaviour: Behaviour = echo
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the socket and every connection: from here on connecting is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._tasks:
            # Again, where a task waits for its last bytes to be read.
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    request = await _read(reader, number)
                    self.requests.append(request)
                    await self.behaviour(request, writer)
        except asyncio.CancelledError:
            # Stopped: there is nobody to tell.
            return
        finally:
            try:
                await end_connection(writer)
            finally:
                self._tasks.discard(task)


async def _read(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body, connection)
