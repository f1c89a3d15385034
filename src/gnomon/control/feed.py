"""Control's side of the feed: tells routers what changed, and knows what they have applied.

Its counterpart is `gnomon.router.feed`. A router asks with a `Report` and is answered with an
`Update`: at once if there is news, else after a while. What routers reported is held in memory
alone: after control's own start nothing counts as released until every router has reported again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

from gnomon.errors import MachineExhausted
from gnomon.model.feed_wire import FeedBroken, encode, read_message
from gnomon.model.records import IncarnationRecord
from gnomon.model.snapshot import Incarnation, Report, Update
from gnomon.model.socket_name import short_name

# How long a report without news waits for its answer: also how old a report of a live router is
# at most.
_POLL_S = 1.0

_LOG = structlog.get_logger(__name__)


class Feed:
    """Owns the Unix socket of the feed and the last report of each incarnation.

    `changes` reads what is new since a version; `seen` is called with each incarnation's first
    report, and `reported` with every report that says something new.
    """

    def __init__(
        self,
        changes: Callable[[int], Awaitable[Update]],
        seen: Callable[[Incarnation], Awaitable[None]],
        reported: Callable[[], None],
    ) -> None:
        self._changes = changes
        self._seen = seen
        self._reported = reported
        self._reports: dict[str, Report] = {}
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._is_closing = False
        # What the socket is named by: the server removes it by that name when it closes.
        self._held = contextlib.ExitStack()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, path: Path) -> None:
        """Listens on `path`, which only this user may open."""
        path.unlink(missing_ok=True)
        name = self._held.enter_context(short_name(path))
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accepted, name)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Hangs up on every router, also on one that has just been accepted.

        A read that is under way is waited for.
        """
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        for writer in self._connections.values():
            writer.close()
        self.announce()
        await asyncio.gather(*self._connections)
        self._held.close()

    def announce(self) -> None:
        """There is a new version: answers every router that waits."""
        self._news.set()
        self._news = asyncio.Event()

    def report_of(self, incarnation_id: str) -> Report | None:
        return self._reports.get(incarnation_id)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        if self._is_closing:
            writer.close()
            return
        self._connections[task] = writer
        try:
            await self._talk(reader, writer)
        except (OSError, FeedBroken, MachineExhausted) as error:
            # It asks again, and serves from what it has meanwhile.
            _LOG.info("a router left the feed", reason=str(error))
        except Exception:  # noqa: BLE001 - a connection ends here
            _LOG.exception("serving a router on the feed failed")
        finally:
            self._connections.pop(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (report := await read_message(reader, Report)) is not None:
            incarnation = report.incarnation
            before = self._reports.get(incarnation.id)
            if before is None:
                await self._seen(incarnation)
            self._reports[incarnation.id] = report
            if before is None or (before.version, before.busy) != (report.version, report.busy):
                self._reported()
            news = self._news
            update = await self._changes(report.version)
            if update.version <= report.version:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _POLL_S)
                update = await self._changes(report.version)
            writer.write(encode(update))
            await writer.drain()


def known_by_all(
    version: int,
    routers: Iterable[IncarnationRecord],
    report_of: Callable[[str], Report | None],
) -> bool:
    """Whether every router that lives has applied the snapshot's `version`. Pure."""
    reports = [report_of(router.id) for router in routers if router.dead_since_s is None]
    return all(report is not None and report.version >= version for report in reports)


def released(
    left_version: int,
    instance_id: str,
    routers: Iterable[IncarnationRecord],
    report_of: Callable[[str], Report | None],
) -> bool:
    """Whether no router can still use an instance that left the snapshot at `left_version`. Pure.

    A router that is proven dead uses nothing; one that has not reported might use anything.
    """
    for router in routers:
        if router.dead_since_s is not None:
            continue
        report = report_of(router.id)
        if report is None or report.version < left_version or instance_id in report.busy:
            return False
    return True
