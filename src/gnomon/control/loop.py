"""Control's heart: sees that every endpoint and experiment is looked at when it may need it.

Level-triggered: an interrupted transition is seen again at the next look and carried on, so that
nothing has to be resumed. A wake-up only makes the next look come sooner. Where the machine has run
out of something, that is said once, and looking goes on until there is some again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.experiment_loop import ExperimentReconciler
from gnomon.control.keeper import InstanceKeeper
from gnomon.control.routers import RouterRegister
from gnomon.control.transactions import Transactions
from gnomon.errors import exhaustion
from gnomon.model.lifecycle import LIVE_INSTANCE
from gnomon.model.records import InstanceRecord
from gnomon.store.state.instances import instances_of
from gnomon.store.state.resources import (
    Due,
    due_experiments,
    endpoint_ids,
    lacking_endpoints,
)

# How often all that is under way is looked at, woken or not, in seconds.
TICK_S = 0.2
# How long nothing is looked at while nothing is under way: bounds how late a clock that was set is
# noticed, in seconds.
REST_S = 1.0
# How often everything is looked at, woken or not, in seconds: what a failed pass lost is found.
SWEEP_S = 30.0
# How many endpoints that were woken are looked at in one pass, and at how many a pass sees whether
# they rest: after a start that is all of them, and what changes must not wait until they are
# through.
_MOST_AT_ONCE = 200
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
        # In the order of their wake-ups.
        self._woken: dict[str, None] = {}
        # Of a start: endpoints that have not been looked at since.
        self._unseen: list[str] = []
        self._bell = asyncio.Event()
        self._closing = False
        self._resumed = False
        # Monotonic time of the next look at everything: the first pass begins with one.
        self._sweep_at_s = transactions.clock.monotonic_s()
        # What the machine was out of, as it was said last.
        self._said = ""
        # As it was read last.
        self._due = Due(0.0, [], None)
        self._changing: frozenset[str] = frozenset()

    def wake(self, endpoint_id: str) -> None:
        """Something about this endpoint may have changed."""
        self._woken[endpoint_id] = None
        self._bell.set()

    def ring(self) -> None:
        """Something may have changed; the rows say what."""
        self._bell.set()

    async def _resume(self) -> bool:
        """Takes up what an earlier control, or a pass that failed, has left: instances that nobody
        keeps, and every endpoint, after the first time those that lack an instance. True if some
        could not be taken up yet.
        """
        async with self._transactions.database.reading() as connection:
            instances = await instances_of(connection, statuses=LIVE_INSTANCE)
            if self._resumed:
                self._woken.update(dict.fromkeys(await lacking_endpoints(connection)))
            else:
                self._unseen = list(await endpoint_ids(connection))
        is_left = False
        for record in instances:
            if not self._keeper.keeps(record.id):
                is_left |= await self._guarded(record.id, partial(self._take_up, record))
        self._resumed = True
        return is_left

    async def _take_up(self, record: InstanceRecord) -> bool:
        await self._keeper.resume(record)
        return False

    def close(self) -> None:
        """Ends `run` after the pass that it is in."""
        self._closing = True
        self._bell.set()

    async def run(self) -> None:
        while not self._closing:
            rest_s = await self.make_pass()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), rest_s)
            self._bell.clear()

    async def make_pass(self) -> float:
        """One look at all that may need it; how long to rest if nothing rings before, in seconds.

        Never raises: what failed is looked at again.
        """
        clock = self._transactions.clock
        if clock.monotonic_s() >= self._sweep_at_s:
            is_left = await self._guarded("everything", self._resume)
            self._sweep_at_s = clock.monotonic_s() + (REST_S if is_left else SWEEP_S)
        await self._guarded("routers", self._routers.look)
        # What cannot be read now is as it was.
        await self._guarded("all that is under way", self._look)
        due, endpoints = self._due, self._changing
        for id_, name, _ in due.experiments:
            await self._guarded(name, partial(self._experiments.reconcile, id_))
        has_failed = bool(self._unseen) and await self._guarded("all that rests", self._screen)
        woken = self._take_woken()
        are_left = bool(self._woken) or (bool(self._unseen) and not has_failed)
        for endpoint_id in endpoints | woken:
            if await self._guarded(endpoint_id, partial(self._endpoints.reconcile, endpoint_id)):
                self._woken[endpoint_id] = None
        return (
            0.0 if are_left else self._rest_s(due, bool(endpoints or self._woken or self._unseen))
        )

    async def _screen(self) -> bool:
        """Wakes those of some endpoints that do not rest. A transaction for each of them all would
        be most of a start's time.
        """
        some = self._unseen[-_MOST_AT_ONCE:]
        self._woken.update(dict.fromkeys(await self._endpoints.restless(some)))
        del self._unseen[-_MOST_AT_ONCE:]
        return False

    def _take_woken(self) -> set[str]:
        woken = set(itertools.islice(self._woken, _MOST_AT_ONCE))
        for endpoint_id in woken:
            del self._woken[endpoint_id]
        return woken

    def _rest_s(self, due: Due, under_way: bool) -> float:
        """Until the next look, if nothing rings before."""
        if under_way or any(status not in _RESTING_EXPERIMENT for _, _, status in due.experiments):
            return TICK_S
        # A pass that failed at its time must not become a busy loop.
        least_s = TICK_S / 10
        if due.experiments:
            return least_s
        if due.next_at_s is None:
            return REST_S
        return max(least_s, min(REST_S, due.next_at_s - due.now_s))

    async def _look(self) -> bool:
        """Sees which experiments need a look, and which endpoints change or have instances that go:
        nothing is read of what rests.
        """
        now_s = self._transactions.clock.now_s()
        async with self._transactions.database.reading() as connection:
            due = await due_experiments(connection, now_s)
            changing = await endpoint_ids(connection, _CHANGING)
            leaving = await instances_of(connection, statuses=("Draining", "Stopping"))
        self._due = due
        self._changing = frozenset(changing | {instance.endpoint_id for instance in leaving})
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
