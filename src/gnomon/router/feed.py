"""The router's end of control's feed: reports what is applied and in use, applies what changed.

Its counterpart is control's feed; the messages are in `gnomon.model.snapshot`. Control may go and
come at any time: until it is back, the router serves on from what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

import structlog

from gnomon.errors import GnomonError
from gnomon.model import feed_wire
from gnomon.model.snapshot import Incarnation, Report, Update
from gnomon.model.socket_name import short_name

# Between attempts to reach control (s): doubled from the first to the last.
_FIRST_WAIT_S = 0.05
_LAST_WAIT_S = 1.0
# Control answers within about a second; silence for so long (s) means that it hangs.
_ANSWER_LIMIT_S = 10.0

log = structlog.get_logger(__name__)


class Holder(Protocol):
    """Who holds the routing table."""

    @property
    def version(self) -> int:
        """Of the last update that was applied; 0 before the first."""

    @property
    def trouble(self) -> str:
        """A sentence on what cannot be kept now, or nothing."""

    def busy(self) -> tuple[str, ...]:
        """Instances that left the snapshot and still have a request in flight."""

    async def apply(self, update: Update) -> None:
        """Make the update's changes."""


class Feed:
    """The conversation with control; `run` goes on until it is cancelled."""

    def __init__(self, path: Path, incarnation: Incarnation, holder: Holder) -> None:
        self._path = path
        self._incarnation = incarnation
        self._holder = holder
        self._writer: asyncio.StreamWriter | None = None
        self._reported_busy: tuple[str, ...] = ()
        # Reports that control has not answered.
        self._unanswered = 0
        self._has_asked = asyncio.Event()
        self._has_heard = asyncio.Event()

    async def run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                if await self._converse():
                    wait_s = _FIRST_WAIT_S
            except (OSError, TimeoutError, GnomonError) as error:
                log.debug("control's feed is away", reason=str(error))
            except Exception:
                log.exception("control's feed was broken off")
            self._has_asked.set()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LAST_WAIT_S)

    async def asked(self) -> None:
        """Wait until control's first update is applied, or control turned out to be away."""
        await self._has_asked.wait()

    async def heard(self) -> None:
        """Wait until control's first update is applied."""
        await self._has_heard.wait()

    def see_busy(self) -> None:
        """To be called often: report at once when the last instance that left is free."""
        if self._writer is not None and self._reported_busy and not self._holder.busy():
            self._report(self._writer)

    async def _converse(self) -> bool:
        """Talk until control hangs up; whether it said anything."""
        with short_name(self._path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        has_spoken = False
        self._unanswered = 0
        self._writer = writer
        try:
            self._report(writer)
            while True:
                async with asyncio.timeout(_ANSWER_LIMIT_S):
                    update = await feed_wire.read_message(reader, Update)
                if update is None:
                    return has_spoken
                has_spoken = True
                self._unanswered = max(0, self._unanswered - 1)
                before = self._holder.version
                await self._holder.apply(update)
                self._has_asked.set()
                self._has_heard.set()
                if not self._unanswered or self._holder.version != before:
                    self._report(writer)
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _report(self, writer: asyncio.StreamWriter) -> None:
        busy = self._holder.busy()
        report = Report(self._incarnation, self._holder.version, busy, self._holder.trouble)
        writer.write(feed_wire.encode(report))
        self._reported_busy = busy
        self._unanswered += 1
