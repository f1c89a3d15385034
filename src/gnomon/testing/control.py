"""A whole control in one process: real SQLite, real wire, the real loops, a host without processes.

What is not here is HTTP, routers and the collector; time is the machine's unless a test moves it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from gnomon.app.machine import new_id
from gnomon.control import api
from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.experiment_loop import ExperimentReconciler
from gnomon.control.feed import Feed
from gnomon.control.keeper import InstanceKeeper, KeeperParts
from gnomon.control.loop import ControlLoop
from gnomon.control.routers import RouterRegister
from gnomon.control.transactions import Transactions
from gnomon.errors import GnomonError, ModelDataUnavailable
from gnomon.hosting.interpreters import Interpreters
from gnomon.model.arn import Account
from gnomon.model.snapshot import Update
from gnomon.settings import HostingSettings, QuotaSettings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state import routing
from gnomon.testing.fake_host import FakeHost, FakeMachine

_LOOK_S = 0.01
_PATIENCE_S = 20.0
# An archive at a URL with this in it is not there; with that, it never arrives.
MISSING = "missing"
ENDLESS = "endless"


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


class ControlInProcess:
    """One life of control on a database; `machine` outlives it."""

    def __init__(
        self,
        service_api: api.Api,
        loop: ControlLoop,
        transactions: Transactions,
        machine: FakeMachine,
        clock: FakeClock,
    ) -> None:
        self.api = service_api
        self.loop = loop
        self.transactions = transactions
        self.machine = machine
        self.clock = clock

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


@asynccontextmanager
async def running_control(
    directory: Path,
    machine: FakeMachine,
    clock: FakeClock,
    quotas: QuotaSettings | None = None,
    **hosting: Any,
) -> AsyncIterator[ControlInProcess]:
    """A control on the database in `directory`, which may be a former control's.

    The directory is the model directory of every model, too; `hosting` are settings.
    """
    url = sqlite_url(directory / "state.db")
    await migrate("state", url)
    database = Database(url)
    account = Account("us-east-1", "000000000000")
    transactions = Transactions(database, account, clock, new_id, quotas or QuotaSettings())
    host = FakeHost(machine)

    async def changes(version: int) -> Update:
        async with database.reading() as connection:
            return await routing.changes_since(connection, version)

    async def none(_: object) -> frozenset[str]:
        return frozenset()

    async def prepare(model_data_url: str | None) -> Path:
        await check(model_data_url)
        if model_data_url and ENDLESS in model_data_url:
            await asyncio.Event().wait()
        return directory

    async def check(model_data_url: str | None) -> None:
        if model_data_url and MISSING in model_data_url:
            raise ModelDataUnavailable(model_data_url, "there is no object at this URL.")

    routers = RouterRegister(transactions, none, none)
    loops: list[ControlLoop] = []
    settings = HostingSettings(**{"ping_interval_s": 0.05, "startup_time_limit_s": 5.0} | hosting)

    def wake(endpoint_id: str) -> None:
        loops[0].wake(endpoint_id)

    def ring() -> None:
        loops[0].ring()

    feed = Feed(changes, routers.seen, ring)
    keeper = InstanceKeeper(
        KeeperParts(
            transactions=transactions,
            host=host,
            prepare=prepare,
            interpreter_for=Interpreters(directory, settings, os.environ).interpreter_for,
            settings=settings,
            threads=lambda _: 1,
            clock=clock,
            wake=wake,
        )
    )
    loop = ControlLoop(
        transactions,
        EndpointReconciler(transactions, keeper, feed, cores=1024, has_weight=lambda _: True),
        ExperimentReconciler(transactions, routers.missing, check, wake),
        keeper,
        routers,
    )
    loops.append(loop)
    await loop.resume()
    reconciling = asyncio.create_task(loop.run())
    try:
        yield ControlInProcess(
            api.Api(api.load(), transactions, loop.ring), loop, transactions, machine, clock
        )
    finally:
        loop.close()
        await reconciling
        await feed.close()
        await keeper.close()
        await host.close()
        await database.close()
