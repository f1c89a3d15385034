"""Turns what routers spool into rows and captured objects, until it is stopped.

Its counterpart is `gnomon.spool.writer`. Whatever is interrupted is done again from what is
committed: rows carry the offset that they were read up to, objects have keys that repeat, and a
segment's file goes only when `objects_done` is committed. What cannot be written for want of space,
or of its destination, stays in the spool and is tried again, less and less often.
Barriers are committed once a segment was read to its end, and with them the captures of which it
has objects that are not written yet: whoever sees a barrier, and not the capture among these, finds
all of that capture's records written that stand before the barrier.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

from gnomon.collector.apply import AnalysesOf, apply_rows
from gnomon.collector.capture import Captures
from gnomon.collector.comparator import UserComparator
from gnomon.collector.objects import Written, write_objects
from gnomon.collector.rests import Rests
from gnomon.errors import exhaustion
from gnomon.objects.roles import Roles
from gnomon.spool import incarnation
from gnomon.spool.incarnation import SegmentFile, incarnations, is_alive, segments
from gnomon.spool.sealing import FrameOpener
from gnomon.store.database import Database
from gnomon.store.telemetry import ingest, queries

# How often (s) the spool is looked at: half of what a user waits for a figure to move.
_POLL_S = 0.2
# How often (s) at most pairs are settled.
_SETTLED_S = 1.0
# From a request's arrival to its pair on disk, at most: production's time limit, the shadow's after
# it, and some for the disk.
LONGEST_EXCHANGE_S = 150.0


class Collector:
    """The one reader of a spool and the one writer of the telemetry database.

    Owned by the collector's process, which holds a lock that keeps a second one away.
    """

    def __init__(
        self,
        spool_root: Path,
        database: Database,
        roles: Roles,
        captures: Captures,
        analyses_of: AnalysesOf,
        opener: FrameOpener,
        *,
        users: Mapping[str, UserComparator] | None = None,
        longest_exchange_s: float = LONGEST_EXCHANGE_S,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = spool_root
        self._database = database
        self._roles = roles
        self._captures = captures
        self._analyses_of = analyses_of
        self._opener = opener
        self._users = users or {}
        self._longest_exchange_s = longest_exchange_s
        self._clock = clock
        self._monotonic = monotonic
        self._log = structlog.get_logger(__name__)
        self._incarnations = Rests("incarnation_id", monotonic)
        self._destinations = Rests("capture_id", monotonic)
        # Of segments that were read to their end, the captures whose objects are not written yet. A
        # new process knows of none, and writes what is written already once more.
        self._unwritten: dict[tuple[str, int], frozenset[str]] = {}
        # Dead incarnations that are read to their end, and wait for a destination.
        self._ended: set[str] = set()
        # How far open segments were read: past what is committed, where no rows were found.
        self._read: dict[tuple[str, int], int] = {}
        # No pair from before this moment (epoch seconds) is left in any spool: settled up to here.
        self._complete_s = 0.0
        # By incarnation: up to when it has said all.
        self._said_s: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set. No error of one incarnation ends it."""
        while not stop.is_set():
            due = self._monotonic() + _POLL_S
            await self._collect_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, due - self._monotonic()))

    async def drain(self) -> None:
        """Collect all that there is now; open segments of living routers stay open."""
        self._begin_round()
        self._destinations.end()
        for directory in incarnations(self._root):
            await self._try(directory)

    def _begin_round(self) -> None:
        self._incarnations.begin_round()
        self._destinations.begin_round()

    async def _collect_due(self) -> None:
        self._begin_round()
        began_s = self._clock()
        try:
            found = incarnations(self._root)
        except OSError as error:
            # No descriptor left, for instance: the next look is soon.
            self._log.warning("the spool cannot be listed", reason=str(error))
            return
        for directory in found:
            if self._incarnations.is_due(directory.name):
                await self._try(directory)
        await self._settle(began_s, found)

    async def _settle(self, began_s: float, found: list[Path]) -> None:
        """Let pairs be judged of whose time all are there. `found` were all at `began_s`."""
        if not self._incarnations.are_none:
            return
        # A pair bears the time at which its request came, and is spooled when both are through:
        # when that is, a router says, or else nothing takes longer than the longest exchange.
        self._said_s = {one.name: self._said_s.get(one.name, 0.0) for one in found}
        said_s = (self._said_s[one.name] for one in found if _has_pairs(one))
        complete_s = max(min([began_s, *said_s]), began_s - self._longest_exchange_s)
        if complete_s < self._complete_s + _SETTLED_S:
            return
        before_us = int(complete_s * 1e6)
        try:
            async with self._database.reading() as connection:
                are_waiting = await queries.has_pairs_before(connection, before_us)
            if are_waiting:
                async with self._database.writing() as connection:
                    await ingest.settle_pairs(connection, before_us)
        except Exception as error:  # noqa: BLE001 - the loop's end; it is tried again
            self._log.warning("pairs_not_settled", reason=str(exhaustion(error) or error))
        else:
            self._complete_s = complete_s

    async def _try(self, directory: Path) -> None:
        try:
            await self._collect(directory)
        except Exception as error:  # noqa: BLE001 - the loop's end; the log has all of it
            self._incarnations.failed(directory.name, error)
        else:
            self._incarnations.worked(directory.name)

    async def _collect(self, directory: Path) -> None:
        # Asked before the listing: what a dead writer left cannot grow behind it.
        alive = is_alive(directory)
        found = segments(directory)
        cut_off_at_s = None if alive else incarnation.cut_off_at_s(directory)
        async with self._database.reading() as connection:
            positions = await queries.positions(connection, directory.name)
            noted = await queries.unwritten_captures_of(connection, directory.name)
        pending = []
        for segment in found:
            position = positions.get(segment.number, queries.Position())
            if position.objects_done:
                segment.path.unlink(missing_ok=True)
            else:
                pending.append(segment)
                if (directory.name, segment.number) not in self._unwritten:
                    await self._apply(directory.name, segment, position.offset)
        for segment in pending:
            if segment.closed or not alive:
                await self._close(directory.name, segment, first=found[0].number)
        unwritten = self._unwritten_of(directory.name)
        if unwritten != noted:
            async with self._database.writing() as connection:
                await ingest.set_unwritten_captures(connection, directory.name, unwritten)
        if not alive and not (unwritten and directory.name in self._ended):
            await self._finish(directory, cut_off_at_s, is_written=not unwritten)

    def _unwritten_of(self, incarnation_id: str) -> frozenset[str]:
        found = (ids for (id_, _), ids in self._unwritten.items() if id_ == incarnation_id)
        return frozenset().union(*found)

    async def _apply(self, incarnation_id: str, segment: SegmentFile, committed: int) -> None:
        key = (incarnation_id, segment.number)
        offset = max(committed, self._read.get(key, 0))
        applied = await apply_rows(
            self._database,
            incarnation_id,
            segment.number,
            segment.path,
            offset,
            self._analyses_of,
            self._opener,
            self._users,
            lambda: self._waiting_bytes(but=key),
        )
        self._read[key] = applied.offset
        said_s = self._said_s.get(incarnation_id, 0.0)
        self._said_s[incarnation_id] = max(said_s, applied.complete_s)

    def _waiting_bytes(self, but: tuple[str, int]) -> int:
        """What was not read yet of all segments in the spool but one."""
        waiting = 0
        for directory in incarnations(self._root):
            # Segments are closed, and so renamed, meanwhile.
            with contextlib.suppress(FileNotFoundError):
                for segment in segments(directory):
                    key = (directory.name, segment.number)
                    if key != but:
                        size_bytes = segment.path.stat().st_size
                        waiting += max(0, size_bytes - self._read.get(key, 0))
        return waiting

    async def _close(self, incarnation_id: str, segment: SegmentFile, first: int) -> None:
        key = (incarnation_id, segment.number)
        before = self._unwritten.get(key)
        if before is not None and not any(map(self._destinations.is_due, before)):
            return
        written = await write_objects(
            self._roles,
            self._captures,
            incarnation_id,
            segment.number,
            segment.path,
            self._opener,
            lambda id_: (before is None or id_ in before) and self._destinations.is_due(id_),
        )
        if before is None and written.reader.torn_bytes:
            self._log.warning(
                "segment_torn",
                incarnation_id=incarnation_id,
                segment=segment.number,
                offset=written.reader.offset,
                torn_bytes=written.reader.torn_bytes,
            )
        for capture_id in written.done:
            self._destinations.worked(capture_id)
        for capture_id, error in written.failures.items():
            self._destinations.failed(capture_id, error)
        unwritten = written.failures.keys() | (
            written.passed_over if before is None else written.passed_over & before
        )
        await self._commit(key, written, unwritten, first)
        if unwritten:
            self._unwritten[key] = frozenset(unwritten)
            return
        segment.path.unlink(missing_ok=True)
        self._unwritten.pop(key, None)
        self._read.pop(key, None)

    async def _commit(
        self, key: tuple[str, int], written: Written, unwritten: Collection[str], first: int
    ) -> None:
        incarnation_id, number = key
        reader = written.reader
        async with self._database.writing() as connection:
            if reader.torn_bytes:
                await ingest.add_torn_segment(
                    connection, incarnation_id, number, reader.modified_at_s, reader.torn_bytes
                )
            await ingest.add_unwritten_captures(connection, incarnation_id, unwritten)
            for barrier in written.barriers:
                await ingest.add_barrier(
                    connection, barrier.barrier_id, incarnation_id, barrier.at_s
                )
            if not unwritten:
                await ingest.set_position(
                    connection, incarnation_id, number, reader.offset, objects_done=True
                )
                await ingest.forget_positions_before(connection, incarnation_id, first)

    async def _finish(
        self, directory: Path, cut_off_at_s: float | None, *, is_written: bool
    ) -> None:
        async with self._database.writing() as connection:
            await ingest.finish_incarnation(
                connection, directory.name, self._clock(), cut_off_at_s=cut_off_at_s
            )
            if is_written:
                await ingest.forget_positions(connection, directory.name)
        # No more pairs come of it.
        self._said_s[directory.name] = math.inf
        self._ended.add(directory.name)
        if is_written:
            await asyncio.to_thread(shutil.rmtree, directory)
            self._ended.discard(directory.name)


def _has_pairs(directory: Path) -> bool:
    return not directory.name.startswith(incarnation.CONTROL_PREFIX)
