"""A whole control in one process: real SQLite, real wire, the real loops, a host without processes.

What is not here is HTTP, routers and the collector (`gnomon.testing.lives` has the latter two);
time is the machine's unless a test moves it.
"""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from gnomon.aws.service import Service
from gnomon.control import api
from gnomon.control.destinations import Destinations
from gnomon.control.disk_floor import DiskFloor
from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.experiment_loop import ExperimentReconciler
from gnomon.control.feed import Feed
from gnomon.control.keeper import InstanceKeeper, KeeperParts
from gnomon.control.loop import ControlLoop
from gnomon.control.memory_watch import LOOK_S, MemoryWatch
from gnomon.control.routers import RouterRegister
from gnomon.control.transactions import Transactions
from gnomon.control.watch import Watch
from gnomon.errors import GnomonError, ModelDataNotFound
from gnomon.hosting.host import Host
from gnomon.hosting.interpreters import Interpreters
from gnomon.hosting.session import boot_id
from gnomon.hosting.volumes import Volumes, owner_of
from gnomon.model.arn import Account
from gnomon.model.records import ExperimentRecord
from gnomon.model.snapshot import Update
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.stores import DirectoryObjects
from gnomon.settings import HostingSettings, QuotaSettings, SpoolSettings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state import routing, steady_time
from gnomon.testing.fake_disk import FakeDisk
from gnomon.testing.fake_host import FakeHost, FakeMachine

_LOOK_S = 0.01
_PATIENCE_S = 60.0
# An archive at a URL with this in it is not there; with that, it was there when its model was made,
# and has gone since; with the third, it never arrives.
MISSING = "missing"
GONE = "gone"
ENDLESS = "endless"

ACCOUNT = Account("us-east-1", "000000000000")


class FakeClock:
    """The machine's clock, moved by `shift_s`; monotonic time is not moved."""

    def __init__(self) -> None:
        self.shift_s = 0.0

    def now_s(self) -> float:
        return time.time() + self.shift_s

    def monotonic_s(self) -> float:
        return time.monotonic()


class CallRefused(GnomonError):
    """What botocore would raise: the error's code and text as its parser reads them."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class ControlClient(ABC):
    """Who calls a control's operations, and waits for what becomes of them."""

    @abstractmethod
    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """Calls an operation as botocore would. Raises CallRefused for an error."""

    async def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Waits until the coroutine function `holds` answers something true, with a bound."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := await holds()):
            assert time.monotonic() < deadline, f"{what} did not come about in {_PATIENCE_S} s"
            await asyncio.sleep(_LOOK_S)
        return found

    async def until_endpoint(self, name: str, status: str) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            found = await self.call("DescribeEndpoint", EndpointName=name)
            return found if found["EndpointStatus"] == status else None

        return dict(await self.until(reached, f"endpoint {name} {status}"))

    async def until_experiment(self, name: str, *statuses: str) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            found = await self.call("DescribeInferenceExperiment", Name=name)
            return found if found["Status"] in statuses else None

        return dict(await self.until(reached, f"experiment {name} {statuses}"))


class ControlInProcess(ControlClient):
    """One life of control on a database; `machine` outlives it, `disk` is where its data lie."""

    def __init__(
        self,
        service_api: api.Api,
        loop: ControlLoop,
        feed: Feed,
        keeper: InstanceKeeper,
        memory_watch: MemoryWatch,
        transactions: Transactions,
        machine: FakeMachine,
        clock: FakeClock,
        disk: FakeDisk,
    ) -> None:
        self.disk = disk
        self.api = service_api
        self.loop = loop
        self.feed = feed
        self.keeper = keeper
        self.memory_watch = memory_watch
        self.transactions = transactions
        self.machine = machine
        self.clock = clock
        self._running: list[asyncio.Task[None]] = []
        self._watch: Watch | None = None

    def run(self) -> None:
        """Begins its loops."""
        self._watch = Watch("the memory of instances", LOOK_S, self.memory_watch.look)
        works = (self.loop.run, self._watch.run)
        self._running = [asyncio.create_task(work()) for work in works]

    async def rest(self) -> None:
        """Ends its loops, after the pass that each is in: from then on, nothing is reconciled."""
        self.loop.close()
        if self._watch is not None:
            self._watch.close()
        await asyncio.gather(*self._running)

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """Calls an operation as botocore would. Raises CallRefused for an error."""
        shape = self.api.service.model.operation_model(operation)
        request = create_serializer("json").serialize_to_request(params, shape)
        headers = {name.lower(): value for name, value in request["headers"].items()}
        answer = await self.api.handle("POST", "/", headers, request["body"])
        parsed = create_parser("json").parse(
            {
                "status_code": answer.status,
                "headers": {name.lower(): value for name, value in answer.headers},
                "body": answer.body,
            },
            # None is right: there is an operation without output.
            shape.output_shape,  # type: ignore[arg-type]
        )
        if answer.status >= 300:
            raise CallRefused(parsed["Error"]["Code"], parsed["Error"]["Message"])
        parsed.pop("ResponseMetadata", None)
        return dict(parsed)


async def no_incarnations(*_: object) -> frozenset[str]:
    """Where there are no routers, none has reached or finished anything."""
    return frozenset()


async def no_guardrail(_: ExperimentRecord) -> None:
    """A test ends by its schedule as it is."""


@dataclass(frozen=True)
class Surroundings:
    """What a control is put together with; `reached` and `finished` are the telemetry's, `spooled`
    is the spool's.
    """

    machine: FakeMachine
    clock: FakeClock
    host: Host
    transactions: Transactions
    reached: Callable[[str, str | None], Awaitable[frozenset[str]]] = no_incarnations
    finished: Callable[[Collection[str]], Awaitable[frozenset[str]]] = no_incarnations
    spooled: Callable[[], Collection[str]] = frozenset
    at_end: Callable[[ExperimentRecord], Awaitable[None]] = no_guardrail
    # None: any role may use the directory below.
    roles: Roles | None = None


async def check_at_creation(model_data_url: str | None, _role_arn: str) -> None:
    """Stands in for looking whether there is an archive, when its model is made."""
    if model_data_url and MISSING in model_data_url:
        raise ModelDataNotFound(model_data_url)


async def check_model_data(model_data_url: str | None, role_arn: str) -> None:
    """The same, later."""
    await check_at_creation(model_data_url, role_arn)
    if model_data_url and GONE in model_data_url:
        raise ModelDataNotFound(model_data_url)


def put_together(
    directory: Path,
    around: Surroundings,
    check: Callable[[str | None, str], Awaitable[None]] = check_model_data,
    **hosting: Any,
) -> ControlInProcess:
    """A control that does not run yet. `directory` is the model directory of every model, too."""
    transactions = around.transactions

    async def changes(version: int) -> Update:
        async with transactions.database.reading() as connection:
            return await routing.changes_since(connection, version)

    async def prepare(model_data_url: str | None, role_arn: str, in_memory_of: str | None) -> Path:
        await check_model_data(model_data_url, role_arn)
        if model_data_url and ENDLESS in model_data_url:
            await asyncio.Event().wait()
        return directory if in_memory_of is None else volumes.make(in_memory_of, 0)

    routers = RouterRegister(transactions, around.reached, around.finished, around.spooled)
    loops: list[ControlLoop] = []
    volumes = _volumes(directory)
    settings = HostingSettings(**{"ping_interval_s": 0.05, "startup_time_limit_s": 5.0} | hosting)

    def wake(endpoint_id: str) -> None:
        loops[0].wake(endpoint_id)

    def ring() -> None:
        loops[0].ring()

    feed = Feed(changes, routers.seen, ring)
    disk = FakeDisk()
    floor = DiskFloor(directory, SpoolSettings().min_free_bytes, disk.free_bytes)
    keeper = InstanceKeeper(
        KeeperParts(
            transactions=transactions,
            host=around.host,
            prepare=prepare,
            discard=volumes.discard,
            interpreter_for=Interpreters(directory, settings, os.environ).interpreter_for,
            settings=settings,
            threads=lambda _: 1,
            clock=around.clock,
            wake=wake,
        )
    )
    loop = ControlLoop(
        transactions,
        EndpointReconciler(transactions, keeper, feed, cores=1024, has_weight=lambda _: True),
        ExperimentReconciler(transactions, routers.missing, check, wake, around.at_end),
        keeper,
        routers,
    )
    loops.append(loop)
    keys = LocalKeys(directory / "keys.json", ACCOUNT)
    objects = SealedObjects(DirectoryObjects(directory / "objects"), keys)
    roles = Roles(Access(objects, keys), {})
    return ControlInProcess(
        api.Api(
            _service(),
            transactions,
            floor,
            check_at_creation,
            Destinations(transactions, around.roles or roles, keys, volumes),
            loop.ring,
        ),
        loop,
        feed,
        keeper,
        MemoryWatch(around.host, keeper, settings),
        transactions,
        around.machine,
        around.clock,
        disk,
    )


async def steady_offset_s(database: Database, clock: FakeClock) -> float:
    """What steady time is by, on this database and in this run of the machine."""
    async with database.writing() as connection:
        return await steady_time.offset_s(connection, boot_id(), clock.now_s(), clock.monotonic_s())


@asynccontextmanager
async def running_control(
    directory: Path,
    machine: FakeMachine,
    clock: FakeClock,
    quotas: QuotaSettings | None = None,
    account: Account = ACCOUNT,
    roles: Roles | None = None,
    **hosting: Any,
) -> AsyncIterator[ControlInProcess]:
    """A control on the database in `directory`, which may be a former control's.

    `hosting` are settings.
    """
    url = sqlite_url(directory / "state.db")
    await migrate("state", url)
    database = Database(url)
    host = FakeHost(machine)
    transactions = Transactions(
        database,
        account,
        clock,
        await steady_offset_s(database, clock),
        os.urandom,
        quotas or QuotaSettings(),
    )
    around = Surroundings(machine, clock, host, transactions, roles=roles)
    control = put_together(directory, around, **hosting)
    control.run()
    try:
        yield control
    finally:
        await control.rest()
        await control.feed.close()
        await control.keeper.close()
        await host.close()
        await database.close()
        _volumes(directory).keep_only(())


def _volumes(directory: Path) -> Volumes:
    return Volumes(Path(HostingSettings.memory_directory), owner_of(directory))


@cache
def _service() -> Service:
    """Read once: it takes longer than a test."""
    return api.load()
