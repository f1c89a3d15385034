"""What is out of order on this machine, in sentences that say what to do: for `gnomon status`.

The databases and the routers say it of themselves. That the collector is behind is seen by what
waits in the spool: that holds whatever keeps it, and also when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnomon.control.disk_floor import DiskFloor
from gnomon.model.clock import Clock
from gnomon.model.records import IncarnationRecord
from gnomon.model.snapshot import Report
from gnomon.spool.incarnation import backlog
from gnomon.store.database import Database

# A closed segment is taken over within a second; one that waits for so long is stuck, in seconds.
_STUCK_S = 30.0
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Waiting:
    """What of the spool waits for the collector, and for how long the oldest of it has."""

    waiting_bytes: int
    waited_s: float


class Warnings:
    """Reads only; `report_of` is the feed's."""

    def __init__(
        self,
        floor: DiskFloor,
        databases: Sequence[Database],
        report_of: Callable[[str], Report | None],
        spool: Path,
        clock: Clock,
        certificate_trouble: Callable[[], str],
    ) -> None:
        self._floor = floor
        self._databases = databases
        self._report_of = report_of
        self._spool = spool
        self._clock = clock
        self._certificate_trouble = certificate_trouble

    async def waiting(self) -> Waiting:
        """How far the collector is behind."""
        found = await asyncio.to_thread(backlog, self._spool)
        waited_s = 0.0 if found.since_s is None else self._clock.now_s() - found.since_s
        return Waiting(found.waiting_bytes, max(0.0, waited_s))

    async def now(self, routers: Sequence[IncarnationRecord], waiting: Waiting) -> list[str]:
        """One sentence for each thing that is out of order; none if all is well."""
        shortage = await self._floor.shortage()
        found = [str(shortage)] if shortage is not None else []
        found += [trouble for database in self._databases for trouble in database.troubles]
        for router in routers:
            report = self._report_of(router.id) if router.dead_since_s is None else None
            if report is not None and report.trouble:
                found.append(f"Router {router.slot}: {report.trouble}")
        found += [trouble] if (trouble := self._certificate_trouble()) else []
        if waiting.waited_s > _STUCK_S:
            found.append(
                f"The collector is {waiting.waited_s:.0f} s behind with {self._spool} "
                f"({waiting.waiting_bytes / _MIB:,.1f} MiB wait), so that reports and captured "
                "objects are not current: the log of `gnomon up` says what keeps it."
            )
        return found
