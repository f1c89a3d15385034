"""What becomes of captures while their store is away, and afterwards.

A router and a collector of their own, with traffic at a steady rate all the time. Segments are
closed each second, not each minute, so that an outage of seconds has as many as one of minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.kit.collector import CAPTURE_ID, running_collector
from bench.kit.endpoints import plain
from bench.kit.load import measure_latency
from bench.kit.payloads import LARGE, SMALL
from bench.kit.report import CannotMeasure
from bench.kit.router import BenchedRouter, running_router
from bench.kit.s3 import placed, running_s3
from bench.kit.watch import Watch
from bench.kit.way import Rig
from gnomon.model import metric
from gnomon.model.layout import Layout
from gnomon.model.snapshot import Capture
from gnomon.settings import MIB, SpoolSettings
from gnomon.spool.incarnation import backlog, incarnations, segments
from gnomon.store.database import Database, sqlite_url
from gnomon.store.telemetry import queries

RATE_PER_S = 1_000
# Of bodies of 64 KiB.
LONG_RATE_PER_S = 100
_SEGMENT_AGE_S = 1.0
# Traffic comes in runs of the load generator, one right after another (s).
_RUN_S = 2.0
# A spool is caught up when nothing in it is older: a segment that has just been closed may wait
# for the collector's next look.
_CAUGHT_UP_S = 1.0
_LOOK_S = 0.02
# A collector rests up to 30 s between two tries.
_TIME_LIMIT_S = 90.0
# Small, so that an outage of seconds fills it, as one of hours would the default.
BOUND_BYTES = 32 * MIB
_NAME = "captured"


@dataclass(frozen=True)
class CaughtUp:
    """`filled_s`: from the store's end until the collector wrote again; `noticed_s` is the part of
    it in which the store was back; `emptied_s`: how long the backlog took from there.
    """

    filled_s: float
    noticed_s: float
    emptied_s: float
    waiting_bytes: int
    requests_per_s: float


@dataclass(frozen=True)
class Memory:
    """Of the router and the collector while the store was away, and captures dropped meanwhile."""

    router: Watch
    collector: Watch
    dropped: float


def catch_up(rig: Rig, directory: Path, outage_s: float) -> CaughtUp:
    """An outage, and how fast its backlog goes while as many exchanges come as before."""
    objects, data, s3 = placed(), directory / "data", directory / "s3"
    spool = SpoolSettings(segment_age_s=_SEGMENT_AGE_S)
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(_router(rig, data, spool))
        root = router.layout.spool
        with running_s3(s3, rig.cores.rest, objects):
            stack.enter_context(running_collector(data, rig.cores.measured, objects))
            reached_per_s = stack.enter_context(_traffic(rig, router))
            _wait(lambda: _is_collected(root), "The collector takes nothing from the spool.")
        gone_s = time.monotonic()
        time.sleep(outage_s)
        with running_s3(s3, rig.cores.rest, objects):
            back_s = time.monotonic()
            waiting = backlog(root)
            _wait(lambda: backlog(root).since_s != waiting.since_s, "The collector rests for long.")
            noticed_s = time.monotonic()
            _wait(lambda: _is_caught_up(root), "The collector does not catch up.")
            emptied_s = time.monotonic()
    return CaughtUp(
        filled_s=noticed_s - gone_s,
        noticed_s=noticed_s - back_s,
        emptied_s=emptied_s - noticed_s,
        waiting_bytes=waiting.waiting_bytes,
        requests_per_s=median(reached_per_s),
    )


def long_outage(rig: Rig, directory: Path, outage_s: float) -> Memory:
    """Bodies of 64 KiB, a store that is never there, and a bound of the spool that is soon met."""
    data = directory / "data"
    spool = SpoolSettings(segment_age_s=_SEGMENT_AGE_S, max_bytes=BOUND_BYTES)
    with (
        _router(rig, data, spool) as router,
        running_collector(data, rig.cores.measured, placed()) as collector,
        ThreadPoolExecutor(2) as pool,
    ):
        watches = Watch(router.pid), Watch(collector.pid)
        watching = [pool.submit(watch.run_for, outage_s) for watch in watches]
        measure_latency(
            router.url(_NAME), LARGE, LONG_RATE_PER_S, outage_s, rig.cores.rest, rig.directory
        )
        for one in watching:
            one.result()
        dropped = asyncio.run(_dropped(router.layout))
    return Memory(*watches, dropped=dropped)


async def _dropped(layout: Layout) -> float:
    """What the collector has read so far, which goes on with all but objects."""
    database = Database(sqlite_url(layout.telemetry_file))
    try:
        async with database.reading() as connection:
            found = await queries.totals(connection)
    finally:
        await database.close()
    return sum(total.counts.get(metric.CAPTURES_LOST, 0) for total in found)


def _router(
    rig: Rig, directory: Path, spool: SpoolSettings
) -> contextlib.AbstractContextManager[BenchedRouter]:
    endpoint = plain(_NAME, rig.production.port, [Capture(CAPTURE_ID, "")])
    return running_router(directory, rig.cores.measured, [endpoint], spool=spool)


@contextlib.contextmanager
def _traffic(rig: Rig, router: BenchedRouter) -> Iterator[list[float]]:
    """Small requests at a rate until the block ends; the rate that was reached, run by run."""
    reached_per_s: list[float] = []
    ending = threading.Event()
    url = router.url(_NAME)

    def ask() -> None:
        while not ending.is_set():
            found = measure_latency(url, SMALL, RATE_PER_S, _RUN_S, rig.cores.rest, rig.directory)
            reached_per_s.append(found.requests_per_s)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield reached_per_s
        finally:
            ending.set()
        asking.result()


def _is_collected(root: Path) -> bool:
    """Whether the first segment of a router is gone already."""
    found = [segments(directory) for directory in incarnations(root)]
    return any(some and some[0].number > 1 for some in found)


def _is_caught_up(root: Path) -> bool:
    since_s = backlog(root).since_s
    return since_s is None or time.time() - since_s < _CAUGHT_UP_S


def _wait(holds: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + _TIME_LIMIT_S
    while not holds():
        if time.monotonic() > until_s:
            raise CannotMeasure(f"{what} That was waited for {_TIME_LIMIT_S:.0f} s.")
        time.sleep(_LOOK_S)
