"""Lives of control that end at a chosen boundary of an action, as SIGKILL would end them.

A boundary is an action's type, a moment and which time it is reached. What a life does to the
world goes through the seams here: the state database, its transactions, the host, and the check of
model data; what it decides is overheard at the planners. At a boundary the life is dead at once:
every seam is shut, a transaction that is open is rolled back, and what its tasks still do on their
way out reaches nothing. What the machine was asked to do before goes on, as a spawned process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar
from unittest import mock

from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.control import endpoint_loop, experiment_loop, plan_endpoint, plan_experiment
from gnomon.control.actions import CheckModelData, StartInstance, StopInstance
from gnomon.control.call import Call
from gnomon.control.transactions import Transactions
from gnomon.hosting.host import Host, InstanceSpec, Observation, Started, Usage
from gnomon.model.lifecycle import INSTANCE
from gnomon.store.database import Database

Moment = Literal["before", "after", "recorded", "planned", "intended", "committed"]

# Before an action's effect, after it, and after its record. Where effect and record are one
# transaction: before it has written anything, after it has and before the commit, after the commit
# and before anything else. Several actions of one pass are one transaction, and die together.
MOMENTS: tuple[Moment, ...] = ("before", "after", "recorded")
# The same of the transaction that decides to start or stop an instance: its effect and record are
# transactions of their own, later.
INTENT_MOMENTS: tuple[Moment, ...] = ("planned", "intended", "committed")
# Actions that are carried out after the transaction in which they were planned.
_LATER = (StartInstance, StopInstance, CheckModelData)

# The transitions that record an instance's start and stop.
_RECORDS = {("Pending", "Starting"): StartInstance, ("Stopping", "Stopped"): StopInstance}

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Boundary:
    """Where control dies; `time` counts from 1."""

    action: type
    moment: Moment
    time: int = 1

    def __str__(self) -> str:
        return f"{self.action.__name__}-{self.moment}-{self.time}"


class ControlDied(BaseException):
    """Nothing that a living process could catch."""


class Faults:
    """Counts the boundaries that are reached, over all lives, and ends one life at `target`."""

    def __init__(self, target: Boundary | None = None) -> None:
        self.target = target
        self.reached: Counter[tuple[type, Moment]] = Counter()
        self.has_struck = False

    def strikes(self, action: type, moment: Moment) -> bool:
        """Whether the life that is here now dies."""
        self.reached[action, moment] += 1
        boundary = Boundary(action, moment, self.reached[action, moment])
        if boundary != self.target:
            return False
        self.has_struck = True
        return True


class Life:
    """One life of control: its tasks, and whether it is over. `died` is set when it ends."""

    def __init__(self, faults: Faults) -> None:
        self.died = asyncio.Event()
        self._faults = faults
        self._tasks: set[asyncio.Task[Any]] = set()
        self._machines: set[asyncio.Task[Any]] = set()
        # What the task's pass has planned, or done, and not yet recorded.
        self._unrecorded: dict[asyncio.Task[Any] | None, list[tuple[type, Moment, Moment]]] = {}
        self._transactions = 0

    def spawn(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """A task of this life's; the tasks that it makes are, too."""
        context = Context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def own(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)

    async def by_the_machine(
        self,
        work: Callable[_Given, Coroutine[Any, Any, _Result]],
        *args: _Given.args,
        **more: _Given.kwargs,
    ) -> _Result:
        """Done by the machine for this life, to its end, whatever becomes of it."""
        self.check()
        task = asyncio.get_running_loop().create_task(work(*args, **more), context=Context())
        self._machines.add(task)
        task.add_done_callback(self._machines.discard)
        return await asyncio.shield(task)

    def check(self) -> None:
        """To be called wherever a process would do something to the world."""
        if self.died.is_set():
            raise ControlDied

    def reach(self, action: type, moment: Moment) -> None:
        self.check()
        if self._faults.strikes(action, moment):
            self.died.set()
            raise ControlDied

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """While one is open."""
        self.check()
        self._transactions += 1
        try:
            yield
        finally:
            self._transactions -= 1

    def note(self, actions: Sequence[tuple[type, Moment, Moment]]) -> None:
        """The next commit of this task records these; moments just before and after it."""
        self._unrecorded.setdefault(asyncio.current_task(), []).extend(actions)

    def noted(self) -> list[tuple[type, Moment, Moment]]:
        return self._unrecorded.pop(asyncio.current_task(), [])

    async def bury(self) -> None:
        """Removes what is left of it. A task that is cut off in a transaction would hold its lock:
        these are let go to their end, which is a rollback.
        """
        while self._transactions or any(_is_new(task) for task in self._tasks):
            # One that is cancelled before it began lets go of nothing that it was handed.
            await asyncio.sleep(0.001)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._machines, return_exceptions=True)


def _is_new(task: asyncio.Task[Any]) -> bool:
    work = task.get_coro()
    return inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED


_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def begin_in_this_context(life: Life) -> None:
    """All that is begun from here on is this life's: for a process that is one."""
    _LIFE.set(life)


def own_tasks() -> None:
    """From now on each task that a life's task makes in this loop belongs to that life."""

    def make(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        context = more.get("context")
        life = _LIFE.get() if context is None else context.get(_LIFE)
        if life is not None:
            life.own(task)
        return task

    asyncio.get_running_loop().set_task_factory(make)


@contextlib.contextmanager
def overheard_plans() -> Iterator[None]:
    """Lives hear what the planners tell them to do."""
    endpoints = _overheard(plan_endpoint.plan_endpoint)
    experiments = _overheard(plan_experiment.plan_experiment)
    with (
        mock.patch.object(endpoint_loop, "plan_endpoint", endpoints),
        mock.patch.object(experiment_loop, "plan_experiment", experiments),
    ):
        yield


def _overheard(plan: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def overheard(*args: Any) -> list[Any]:
        actions = plan(*args)
        life = _LIFE.get()
        if life is not None:
            life.noted()
            for type_ in dict.fromkeys(type(action) for action in actions):
                if type_ not in _LATER:
                    life.reach(type_, "before")
                    life.note([(type_, "after", "recorded")])
                elif type_ is not CheckModelData:
                    life.reach(type_, "planned")
                    life.note([(type_, "intended", "committed")])
        return actions

    return overheard


def mortal_check(
    life: Life, check: Callable[[str | None, str], Awaitable[None]]
) -> Callable[[str | None, str], Awaitable[None]]:
    """The check of model data, as a life does it."""

    async def checked(url: str | None, role_arn: str) -> None:
        life.reach(CheckModelData, "before")
        try:
            await check(url, role_arn)
        finally:
            life.reach(CheckModelData, "after")
            life.note([(CheckModelData, "after", "recorded")])

    return checked


class MortalDatabase(Database):
    """A database as one life uses it."""

    def __init__(self, url: str, life: Life) -> None:
        super().__init__(url)
        self._life = life

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with self._life.transaction():
            async with super().reading() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        with self._life.transaction():
            async with super().writing() as connection:
                yield connection
                # One that a dead process has open is not committed.
                self._life.check()


@dataclass(frozen=True)
class MortalTransactions(Transactions):
    """Control's transactions, at whose commits a life may end."""

    life: Life

    @contextlib.asynccontextmanager
    async def call(self, region: str | None = None) -> AsyncIterator[Call]:
        self.life.check()
        async with super().call(region) as call:
            yield call
            records = self.life.noted()
            for action, before_commit, _ in records:
                if action is not CheckModelData:
                    self.life.reach(action, before_commit)
        for action, _, after_commit in records:
            self.life.reach(action, after_commit)
        for transition in call.transitions:
            change = (transition.before, transition.after)
            if transition.kind == INSTANCE.name and change in _RECORDS:
                self.life.reach(_RECORDS[change], "recorded")


class MortalHost:
    """Implements `gnomon.hosting.host.Host`: another host, as one life uses it."""

    def __init__(self, host: Host, life: Life) -> None:
        self._host = host
        self._life = life

    async def start(self, spec: InstanceSpec) -> Started:
        self._life.reach(StartInstance, "before")
        started = await self._life.by_the_machine(self._host.start, spec)
        self._life.reach(StartInstance, "after")
        return started

    async def observe(self, instance_id: str) -> Observation:
        return await self._life.by_the_machine(self._host.observe, instance_id)

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        return await self._life.by_the_machine(self._host.over_memory, limits)

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:
        return await self._life.by_the_machine(self._host.usage, instance_ids)

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:
        self._life.reach(StopInstance, "before")
        await self._life.by_the_machine(self._host.stop, instance_id, at_once=at_once)
        self._life.reach(StopInstance, "after")

    async def adopt(self, instance_id: str) -> bool:
        return await self._life.by_the_machine(self._host.adopt, instance_id)

    async def close(self) -> None:
        await self._host.close()
