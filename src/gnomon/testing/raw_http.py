"""An HTTP client that sends exactly the bytes that a test wants, and reads answers one by one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(path: str, body: bytes = b"", **headers: str) -> bytes:
    """A POST request; `content_type` becomes Content-Type, and so on."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def invocation(endpoint_name: str, body: bytes = b"", **headers: str) -> bytes:
    return post(f"/endpoints/{endpoint_name}/invocations", body, **headers)


def streaming(endpoint_name: str, body: bytes = b"", **headers: str) -> bytes:
    """A request for a streamed answer."""
    return post(f"/endpoints/{endpoint_name}/invocations-response-stream", body, **headers)


async def end_connection(writer: asyncio.StreamWriter) -> None:
    """Close it and wait for that; when that is cancelled, what nobody reads is thrown away."""
    writer.close()
    try:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    except asyncio.CancelledError:
        # Nothing tells whether a transport has gone; one that has raises this.
        with contextlib.suppress(AttributeError):
            writer.transport.abort()
        raise


class RawClient:
    """One connection, open while it is entered."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls
        )
        return self

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await end_connection(self.writer)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.read()

    async def read_head(self) -> Answer:
        """The head of an answer whose body the test reads itself, or by `read_chunk`."""
        return await self.read(to_head_request=True)

    async def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty is the last."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def read(self, *, to_head_request: bool = False) -> Answer:
        """The next answer, interim ones included; raises IncompleteReadError at the end."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if to_head_request else int(headers.get("content-length", 0))
        return Answer(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        """Whether the other side has nothing more to say; waits for it."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True
