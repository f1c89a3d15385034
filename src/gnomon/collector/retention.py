"""Keeps the telemetry database bounded, and quick to ask: hours that are over are summed up beside
what they were made of, old metrics become coarser, and at last they go.

A piece at a time, with a rest between two, so that rows of now never wait for long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from gnomon.errors import GnomonError
from gnomon.model.retention import DAY_S, FIVE, HOUR
from gnomon.settings import MetricSettings
from gnomon.store.database import Database
from gnomon.store.telemetry import retention, roll_ups

# How often it looks, and how long it rests between two pieces.
_EVERY_S = 600.0
_REST_S = 0.05
_MINUTE_S = 60

_LOG = structlog.get_logger(__name__)


class Retention:
    """`clock` gives epoch seconds. One at a time, in the collector's process."""

    def __init__(
        self, database: Database, kept: MetricSettings, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock
        # By step in minutes: up to where all is as coarse. A new process looks from the beginning.
        self._done = {FIVE: 0, HOUR: 0}

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again, until `stop` is set."""
        while not stop.is_set():
            try:
                await self.look(stop)
            except GnomonError as error:
                # Of the machine: it is tried again at the next look.
                _LOG.warning("old metrics stay as they are", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _EVERY_S)

    async def look(self, stop: asyncio.Event) -> None:
        """Do all that is due, unless `stop` is set meanwhile."""
        now_s = self._clock()
        await self._roll_up(int(now_s // (HOUR * _MINUTE_S)) * HOUR, stop)
        for step, days in (
            (FIVE, self._kept.minute_days),
            (HOUR, self._kept.five_minute_days),
        ):
            # Whole periods only: what comes late for a minute still finds its period fine.
            before = int((now_s - days * DAY_S) // (step * _MINUTE_S)) * step
            while self._done[step] < before and not stop.is_set():
                async with self._database.writing() as connection:
                    done = await retention.coarsen(connection, self._done[step], before, step)
                self._done[step] = done
                await asyncio.sleep(_REST_S)
        # Whole hours, with their sums.
        oldest = int((now_s - self._kept.hour_days * DAY_S) // (HOUR * _MINUTE_S)) * HOUR
        async with self._database.writing() as connection:
            await retention.delete_before(connection, oldest)

    async def _roll_up(self, before: int, stop: asyncio.Event) -> None:
        done = 0
        while done < before and not stop.is_set():
            async with self._database.writing() as connection:
                done = await roll_ups.roll_up(connection, before)
            await asyncio.sleep(_REST_S)
