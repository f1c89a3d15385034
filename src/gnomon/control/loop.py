"""Control's heart: sees that every endpoint and experiment is looked at when it may need it.

Level-triggered: an interrupted transition is seen again at the next look and carried on, so that
nothing has to be resumed. A wake-up only makes the next look come sooner. Where the machine has run
out of something, that is said once, and looking goes on until there is some again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.experiment_loop import ExperimentReconciler
from gnomon.control.keeper import InstanceKeeper
from gnomon.control.routers import RouterRegister
from gnomon.control.transactions import Transactions
from gnomon.errors import exhaustion
from gnomon.model.lifecycle import LIVE_INSTANCE, UNFINISHED_EXPERIMENT
from gnomon.model.records import ExperimentRecord
from gnomon.store.state.instances import instances_of
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS

# How often all that is under way is looked at, woken or not, in seconds.
TICK_S = 0.2
# How long nothing is looked at while nothing is under way: bounds how late a clock that was set is
# noticed, in seconds.
REST_S = 1.0
# How often everything is looked at, woken or not, in seconds: what a failed pass lost is found.
SWEEP_S = 30.0
_CHANGING = ("Creating", "Updating", "Deleting")
_RESTING_EXPERIMENT = ("Created", "Running")

_LOG = structlog.get_logger(__name__)


class ControlLoop:
    """One pass after another, until `close`. It is never cancelled: see `InstanceKeeper`."""

    def __init__(
        self,
        transactions: Transactions,
        endpoints: EndpointReconciler,
        experiments: ExperimentReconciler,
        keeper: InstanceKeeper,
        routers: RouterRegister,
    ) -> None:
        self._transactions = transactions
        self._endpoints = endpoints
        self._experiments = experiments
        self._keeper = keeper
        self._routers = routers
        self._woken: set[str] = set()
        self._bell = asyncio.Event()
        self._closing = False
        # What the machine was out of, as it was said last.
        self._said = ""
        self._experiments_under_way: list[ExperimentRecord] = []
        self._endpoints_under_way: set[str] = set()

    def wake(self, endpoint_id: str) -> None:
        """Something about this endpoint may have changed."""
        self._woken.add(endpoint_id)
        self._bell.set()

    def ring(self) -> None:
        """Something may have changed; the rows say what."""
        self._bell.set()

    async def resume(self) -> bool:
        """Takes up what an earlier control, or a pass that failed, has left: instances that nobody
        keeps, and every endpoint once.
        """
        async with self._transactions.database.reading() as connection:
            instances = await instances_of(connection, statuses=LIVE_INSTANCE)
            endpoints = await ENDPOINTS.all(connection)
        for record in instances:
            if not self._keeper.keeps(record.id):
                await self._keeper.resume(record)
        self._woken.update(endpoint.id for endpoint in endpoints)
        return True

    def close(self) -> None:
        """Ends `run` after the pass that it is in."""
        self._closing = True
        self._bell.set()

    async def run(self) -> None:
        clock = self._transactions.clock
        swept_s = clock.monotonic_s()
        while not self._closing:
            await self._guarded("routers", self._routers.look)
            if clock.monotonic_s() - swept_s >= SWEEP_S:
                swept_s = clock.monotonic_s()
                await self._guarded("everything", self.resume)
            # What cannot be read now is as it was.
            await self._guarded("all that is under way", self._look)
            experiments, endpoints = self._experiments_under_way, self._endpoints_under_way
            for experiment in experiments:
                await self._guarded(
                    experiment.name, partial(self._experiments.reconcile, experiment.id)
                )
            for endpoint_id in endpoints | self._take_woken():
                if await self._guarded(
                    endpoint_id, partial(self._endpoints.reconcile, endpoint_id)
                ):
                    self._woken.add(endpoint_id)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._bell.wait(), self._rest_s(experiments, bool(endpoints or self._woken))
                )
            self._bell.clear()

    def _take_woken(self) -> set[str]:
        woken, self._woken = self._woken, set()
        return woken

    def _rest_s(self, experiments: Sequence[ExperimentRecord], under_way: bool) -> float:
        """Until the next look, if nothing rings before."""
        if under_way or any(e.status not in _RESTING_EXPERIMENT for e in experiments):
            return TICK_S
        now_s = self._transactions.clock.now_s()
        times = [
            record.plan.starts_at_s if record.status == "Created" else record.plan.ends_at_s
            for record in experiments
        ]
        # A pass that failed at its time must not become a busy loop.
        return max(TICK_S / 10, min([now_s + REST_S, *times]) - now_s)

    async def _look(self) -> bool:
        """Sees what is under way."""
        async with self._transactions.database.reading() as connection:
            experiments = await EXPERIMENTS.where(connection, status=UNFINISHED_EXPERIMENT)
            changing = await ENDPOINTS.where(connection, status=_CHANGING)
            leaving = await instances_of(connection, statuses=("Draining", "Stopping"))
        self._experiments_under_way = experiments
        self._endpoints_under_way = {e.id for e in changing} | {i.endpoint_id for i in leaving}
        return True

    async def _guarded(self, what: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """One piece of a pass: an unexpected error ends this piece, not the loop."""
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - a piece of a pass ends here
            exhausted = exhaustion(error)
            if exhausted is None:
                _LOG.exception("a pass failed; it is tried again", of=what)
            elif str(exhausted) != self._said:
                self._said = str(exhausted)
                _LOG.warning("a pass has to wait; it is tried again", of=what, reason=self._said)
            return True
