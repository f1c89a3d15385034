"""Looks at what instances use of the machine, and at how busy the machine is during tests.

Telemetry is the collector's to write, so what is seen goes through the spool, in an incarnation of
control's own; routers' barriers know nothing of it. What is made of a look is left to
`gnomon.control.utilization` and `gnomon.control.contention`, looking at processes to the host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from gnomon.control.contention import machine_delta, shares_machine
from gnomon.control.keeper import InstanceKeeper
from gnomon.control.memory_watch import memory_limit
from gnomon.control.transactions import Transactions
from gnomon.control.utilization import Seen, delta_of, minute_of, utilization
from gnomon.hosting.host import Host, Usage
from gnomon.model.clock import Clock
from gnomon.model.records import ExperimentRecord, InstanceRecord
from gnomon.settings import HostingSettings
from gnomon.spool.frames import MetricDelta, Metrics
from gnomon.spool.writer import SpoolWriter
from gnomon.store.state.resources import EXPERIMENTS

# How often the machine is looked at while tests run, in seconds: what it is judged by.
LOOK_S = 1.0
# How often instances are, in seconds: six samples a minute, and a CPU time of some 1,000 ticks.
SAMPLE_S = 10.0

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UsageParts:
    """What the watch works with.

    `cpu_percent` says how much of the machine's CPU was used since the last call, `memory_bytes` is
    what it has. `open_spool` makes control's incarnation in the spool; `is_local` says of an image
    whether its instances run on this machine.
    """

    transactions: Transactions
    host: Host
    keeper: InstanceKeeper
    settings: HostingSettings
    clock: Clock
    cpu_percent: Callable[[], float]
    memory_bytes: int
    open_spool: Callable[[], SpoolWriter]
    is_local: Callable[[str], bool]


class UsageWatch:
    """What a `Watch` looks at.

    `seen` are the instances that run here, as of the last look at them.
    """

    def __init__(self, parts: UsageParts) -> None:
        self.seen: list[Seen] = []
        self._parts = parts
        # psutil and the disk: neither is the loop's.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="machine")
        self._spool: SpoolWriter | None = None
        self._before: Mapping[str, Usage] = {}
        self._looked_s = parts.clock.monotonic_s()
        self._sampled_s = self._looked_s

    async def close(self) -> None:
        """After the last look: what was written is handed over."""
        if self._spool is not None:
            await asyncio.to_thread(self._spool.close)
        self._pool.shutdown()

    async def tick(self) -> None:
        """The look of each LOOK_S seconds, and now and then a sample."""
        await self.look()
        if self._parts.clock.monotonic_s() - self._sampled_s >= SAMPLE_S:
            await self.sample()

    async def look(self) -> None:
        """How busy the machine was since the last look, for each test that runs on it."""
        loop = asyncio.get_running_loop()
        cpu_percent = await loop.run_in_executor(self._pool, self._parts.cpu_percent)
        now_s = self._parts.clock.monotonic_s()
        seconds, self._looked_s = now_s - self._looked_s, now_s
        minute = minute_of(self._parts.clock.now_s(), seconds)
        await self._write(
            [
                machine_delta(experiment, minute, seconds, cpu_percent)
                for experiment in await self._running()
                if shares_machine(experiment, self._parts.is_local)
            ]
        )

    async def sample(self) -> None:
        """What each instance used since the last sample; one that is new has to wait for a second
        look.
        """
        kept = {record.id: record for record in self._parts.keeper.kept()}
        self._sampled_s = self._parts.clock.monotonic_s()
        before, self._before = self._before, await self._parts.host.usage(list(kept))
        self.seen = [
            Seen(
                kept[id_],
                now.memory_bytes,
                utilization(before[id_], now, self._memory_bytes(kept[id_])),
            )
            for id_, now in self._before.items()
            if id_ in before
        ]
        tests = {experiment.endpoint_id: experiment.id for experiment in await self._running()}
        minute = minute_of(self._parts.clock.now_s(), SAMPLE_S)
        await self._write(
            [
                delta_of(one.record, tests.get(one.record.endpoint_id, ""), minute, one.used)
                for one in self.seen
            ]
        )

    async def _running(self) -> list[ExperimentRecord]:
        # Without instances there is no test, and nothing to read for.
        if not self._parts.keeper.kept():
            return []
        async with self._parts.transactions.database.reading() as connection:
            return await EXPERIMENTS.where(connection, status=("Running",))

    def _memory_bytes(self, record: InstanceRecord) -> int:
        limit = memory_limit(record.spec.instance_type, self._parts.settings)
        return self._parts.memory_bytes if limit is None else limit.limit_bytes

    async def _write(self, deltas: list[MetricDelta]) -> None:
        if not deltas:
            return
        if self._spool is None:
            loop = asyncio.get_running_loop()
            self._spool = await loop.run_in_executor(self._pool, self._parts.open_spool)
        # Metrics are never refused.
        self._spool.append(Metrics(deltas))
