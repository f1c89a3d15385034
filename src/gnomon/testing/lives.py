"""One machine, on which control lives again and again: with a router, traffic and a collector.

Control is all of it but its HTTP (`gnomon.testing.control`), each life as `gnomon.testing.faults`
ends it; router, spool, collector, both databases and the object directory are the real ones, all
in the test's own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from gnomon.app.machine import new_id
from gnomon.collector.loop import Collector
from gnomon.hosting.session import boot_id, stat
from gnomon.model.lifecycle import LIVE_INSTANCE
from gnomon.model.snapshot import Endpoint, Incarnation
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.stores import DirectoryObjects
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.settings import QuotaSettings, RouterSettings, SpoolSettings
from gnomon.spool.sealing import CONTEXT, FrameOpener
from gnomon.spool.writer import SpoolWriter
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state import routing
from gnomon.store.state.instances import get_capture, instances_of
from gnomon.store.state.resources import ENDPOINTS
from gnomon.store.telemetry import queries
from gnomon.testing.analyses import default_analyses
from gnomon.testing.control import (
    ACCOUNT,
    ControlClient,
    ControlInProcess,
    FakeClock,
    Surroundings,
    check_model_data,
    put_together,
    steady_offset_s,
)
from gnomon.testing.fake_host import FakeHost, FakeMachine
from gnomon.testing.faults import (
    ControlDied,
    Faults,
    Life,
    MortalDatabase,
    MortalHost,
    MortalTransactions,
    mortal_check,
    overheard_plans,
    own_tasks,
)
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import NOBODY, PATIENCE_S, until

# So many requests are answered between a life and the next.
_ANSWERS_BETWEEN = 5
# Between two requests (s): each is in the middle of something, and none waits for another.
_REQUEST_INTERVAL_S = 0.01
# How often the router does what it does each second (s): barriers wait for it.
_ROUTER_TICK_S = 0.05


@dataclass(frozen=True)
class Sent:
    """One request that was answered. `began` and `ended` under the test, as the router has it."""

    number: int
    began: bool
    ended: bool


class Lives(ControlClient):
    """The machine while it is entered (`machine_with_lives`); calls wait for a control that lives.

    `failures` are the requests that were not answered with what was sent. While `may_return` is
    clear, no further life begins.
    """

    def __init__(
        self,
        directory: Path,
        faults: Faults,
        router: Router,
        port: int,
        state: Database,
        telemetry: Database,
        clock: FakeClock,
        machine: FakeMachine,
    ) -> None:
        self.faults = faults
        self.router = router
        self.state = state
        self.telemetry = telemetry
        self.machine = machine
        self.clock = clock
        self.lives = 0
        self.answered: list[Sent] = []
        self.failures: list[str] = []
        self.may_return = asyncio.Event()
        self.may_return.set()
        self._directory = directory
        self._port = port
        self._living: asyncio.Future[ControlInProcess] = asyncio.Future()
        self._wants_traffic = False

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """As a client that comes again when control was away: what died had not committed it."""
        while True:
            control = await asyncio.shield(self._living)
            with contextlib.suppress(ControlDied):
                return await control.call(operation, **params)
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Control looks at its schedules at once, as it does by itself within a second."""
        self.clock.shift_s += seconds
        (await asyncio.shield(self._living)).loop.ring()

    @contextlib.asynccontextmanager
    async def traffic(self, endpoint: str) -> AsyncIterator[None]:
        """Constant traffic, each request's body and inference id its number."""
        self._wants_traffic = True
        sending = asyncio.create_task(self._send(endpoint))
        try:
            yield
        finally:
            self._wants_traffic = False
            await sending

    async def until_answered(self, more: int) -> None:
        wanted = len(self.answered) + more
        await until(lambda: len(self.answered) >= wanted or self.failures)

    def known(self) -> tuple[Endpoint, ...]:
        """The routing snapshot as the router has it."""
        return self.router._routes.specs()

    async def until_at_rest(self) -> None:
        """Until nothing is under way: what lives is what is desired, and the router knows it."""

        async def is_at_rest() -> bool:
            async with self.state.reading() as connection:
                published = await routing.changes_since(connection, 0)
                living = await instances_of(connection, statuses=LIVE_INSTANCE)
                endpoints = await ENDPOINTS.all(connection)
            return (
                self.router.version == published.version
                and set(self.known()) == set(published.endpoints)
                and all(endpoint.status in {"InService", "Failed"} for endpoint in endpoints)
                and all(instance.status == "InService" for instance in living)
                and len(living) == sum(v.count for e in endpoints for v in e.desired.variants)
                and {instance.id for instance in living} == self.machine.running()
            )

        await self.until(is_at_rest, "rest")

    def captured(self, destination: str) -> dict[str, list[dict[str, Any]]]:
        """Captured records below an s3:// destination, by variant."""
        root = self._directory / "objects" / destination.removeprefix("s3://")
        found: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(root.rglob("*.jsonl")):
            variant = path.relative_to(root).parts[1]
            records = [json.loads(line) for line in path.read_text().splitlines()]
            found.setdefault(variant, []).extend(records)
        return found

    # --- Control ------------------------------------------------------------------------------

    async def live(self) -> None:
        """One life of control after another, until it is cancelled."""
        while True:
            self.lives += 1
            life = Life(self.faults)
            try:
                await self._live_once(life)
            finally:
                await life.bury()
            if self._wants_traffic:
                await self.until_answered(_ANSWERS_BETWEEN)
            await self.may_return.wait()

    async def _live_once(self, life: Life) -> None:
        async def reached(barrier_id: str, capture_id: str | None) -> frozenset[str]:
            async with self.telemetry.reading() as connection:
                return await queries.reached_barrier(connection, barrier_id, capture_id)

        async def finished(ids: Collection[str]) -> frozenset[str]:
            async with self.telemetry.reading() as connection:
                return await queries.finished(connection, ids)

        database = MortalDatabase(sqlite_url(self._directory / "state.db"), life)
        offset_s = await steady_offset_s(database, self.clock)
        around = Surroundings(
            self.machine,
            self.clock,
            MortalHost(FakeHost(self.machine), life),
            MortalTransactions(
                database, ACCOUNT, self.clock, offset_s, os.urandom, QuotaSettings(), life
            ),
            reached,
            finished,
        )
        control = put_together(self._directory, around, mortal_check(life, check_model_data))

        async def run() -> None:
            await control.feed.serve(self._directory / "feed.sock")
            await control.loop.run()

        running = life.spawn(run())
        self._living.set_result(control)
        died = asyncio.create_task(life.died.wait())
        try:
            await asyncio.wait((died, running), return_when=asyncio.FIRST_COMPLETED)
            if not life.died.is_set():
                running.result()
        finally:
            died.cancel()
            life.died.set()
            self._living = asyncio.Future()
            await life.bury()
            # What the kernel does with a dead process's sockets and files.
            await control.feed.close()
            await database.close()

    # --- Traffic ------------------------------------------------------------------------------

    def _is_under_test(self) -> bool:
        return any(
            spec.experiment is not None and self.clock.now_s() < spec.experiment.ends_at_s
            for spec in self.known()
        )

    async def _send(self, endpoint: str) -> None:
        async with RawClient(self._port) as client:
            while self._wants_traffic:
                number = len(self.answered) + len(self.failures)
                began = self._is_under_test()
                body = b"%d" % number
                answer = await client.ask(
                    invocation(
                        endpoint,
                        body,
                        Content_Type="text/csv",
                        X_Amzn_SageMaker_Inference_Id=str(number),
                    )
                )
                if (answer.status, answer.body) == (200, body):
                    self.answered.append(Sent(number, began, self._is_under_test()))
                else:
                    self.failures.append(f"{number}: {answer.status} {answer.body!r}")
                await asyncio.sleep(_REQUEST_INTERVAL_S)


async def make_databases(directory: Path) -> None:
    """Both databases, empty. Files that may be copied: making them takes as long as a test."""
    await migrate("state", sqlite_url(directory / "state.db"))
    await migrate("telemetry", sqlite_url(directory / "telemetry.db"))


@contextlib.asynccontextmanager
async def machine_with_lives(directory: Path, faults: Faults) -> AsyncIterator[Lives]:
    """A machine with both databases in `directory` (`make_databases`), on which control lives."""
    own_tasks()
    clock = FakeClock()
    state = Database(sqlite_url(directory / "state.db"))
    telemetry = Database(sqlite_url(directory / "telemetry.db"))

    async def capture(capture_id: str) -> CaptureDefinition | None:
        async with state.reading() as connection:
            return await get_capture(connection, capture_id)

    keys = LocalKeys(directory / "keys.json", ACCOUNT)
    objects = SealedObjects(DirectoryObjects(directory / "objects"), keys)
    roles = Roles(Access(objects, keys), {})
    opener = FrameOpener(lambda wrapped: keys.unwrap(wrapped, CONTEXT))
    collector = Collector(directory / "spool", telemetry, roles, capture, default_analyses, opener)
    own = stat(os.getpid())
    assert own is not None, "this process runs"
    incarnation = Incarnation(new_id(), 0, os.getpid(), own.start_ticks, boot_id())
    spool = SpoolWriter(directory / "spool", incarnation.id, SpoolSettings(flush_interval_s=0.01))
    router = Router(
        # All of it shares one loop: what is done there between may take longer than a connection.
        RouterSettings(drain_idle_s=0.0, connect_time_limit_s=10.0),
        incarnation=incarnation,
        spool=spool,
        control_address=("127.0.0.1", NOBODY),
        feed_path=directory / "feed.sock",
        snapshot_path=directory / "snapshot",
        seal=Seal(bytes(32)),
        account_id=ACCOUNT.account_id,
        region=ACCOUNT.region,
        clock=clock,
        random=Random(0),
    )

    async def hurry() -> None:
        while True:
            await asyncio.sleep(_ROUTER_TICK_S)
            router.tick()

    machine = FakeMachine(listens=True)
    collected = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(state.close)
        stack.push_async_callback(telemetry.close)
        stack.callback(spool.close)
        await stack.enter_async_context(machine.closing())
        stack.enter_context(overheard_plans())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        lives = Lives(directory, faults, router, port, state, telemetry, clock, machine)
        living = asyncio.create_task(lives.live())
        collecting = asyncio.create_task(collector.run(collected))
        hurrying = asyncio.create_task(hurry())
        # Control answers its first report when there is news.
        starting = asyncio.create_task(router.start(listener, patience_s=PATIENCE_S))

        async def is_known() -> bool:
            async with state.reading() as connection:
                return bool(await routing.incarnations(connection))

        try:
            # Only then control waits for what the router knows.
            await lives.until(is_known, "the router on record")
            yield lives
        finally:
            await starting
            await router.drain()
            collected.set()
            await collecting
            living.cancel()
            hurrying.cancel()
            await asyncio.gather(living, hurrying, return_exceptions=True)
