"""Control's end of the feed, said word for word by a test; the real one is in `gnomon.control`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from gnomon.model import feed_wire
from gnomon.model.snapshot import Report, Update

# How long (s) a test waits for a report.
_PATIENCE_S = 30.0


class FakeControlFeed:
    """Serves one router at a time while it is entered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None

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
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self._path)

    async def stop(self) -> None:
        """Hang up, and take no calls."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            await asyncio.sleep(0)

    async def report(self) -> Report:
        """The next report that comes."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self._reports.get()

    async def answer(self, update: Update) -> None:
        await self.say(feed_wire.encode(update))

    async def say(self, data: bytes) -> None:
        if self._writer is None:
            raise RuntimeError("no router is connected")
        self._writer.write(data)
        await self._writer.drain()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            while (report := await feed_wire.read_message(reader, Report)) is not None:
                self._reports.put_nowait(report)
        except ConnectionError:
            return
        finally:
            writer.close()
