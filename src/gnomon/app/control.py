"""The control process: builds its parts, serves the API, reconciles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import structlog
import uvicorn
from starlette.applications import Starlette

from gnomon.app import certificate as certificates
from gnomon.app.archives import Archives
from gnomon.app.certificate import Certificate
from gnomon.app.child import Hand, Orders, alone, run_child
from gnomon.app.listening import control_socket, passing_socket
from gnomon.app.machine import SystemClock, new_id
from gnomon.control import api
from gnomon.control import frame_keys as keying
from gnomon.control import guardrails as guarding
from gnomon.control import memory_watch as memory
from gnomon.control import usage_watch as usage
from gnomon.control.analyses import Analyses
from gnomon.control.cloudwatch import api as cloudwatch
from gnomon.control.cloudwatch.reading import Readings
from gnomon.control.destinations import Destinations
from gnomon.control.disk_floor import DiskFloor
from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.experiment_loop import ExperimentReconciler
from gnomon.control.feed import Feed
from gnomon.control.frame_keys import FrameKeys
from gnomon.control.guardrails import Guardrails
from gnomon.control.judging import Judge
from gnomon.control.keeper import InstanceKeeper, KeeperParts
from gnomon.control.loop import ControlLoop
from gnomon.control.memory_watch import MemoryWatch
from gnomon.control.reports import Reports
from gnomon.control.routers import RouterRegister
from gnomon.control.status import Machine, Status
from gnomon.control.totals import Scrape
from gnomon.control.transactions import Transactions
from gnomon.control.usage_watch import UsageParts, UsageWatch
from gnomon.control.warnings import Warnings
from gnomon.control.watch import Watch
from gnomon.errors import GnomonError
from gnomon.hosting import artifacts, serving_archive
from gnomon.hosting.choice import HostByRuntime
from gnomon.hosting.external import ExternalHost
from gnomon.hosting.images import runtime_of
from gnomon.hosting.interpreters import Interpreters
from gnomon.hosting.process import ProcessHost
from gnomon.hosting.servers import External
from gnomon.hosting.session import boot_id
from gnomon.hosting.volumes import Volumes, owner_of
from gnomon.model import instance_types
from gnomon.model.analysis import default_guardrails, default_settings
from gnomon.model.arn import Account
from gnomon.model.layout import Layout
from gnomon.model.lifecycle import LIVE_INSTANCE
from gnomon.model.snapshot import Update
from gnomon.objects.opening import open_keys, open_roles
from gnomon.settings import Settings, cores
from gnomon.spool.disk import free_bytes
from gnomon.spool.incarnation import CONTROL_PREFIX, routers_of
from gnomon.spool.writer import SpoolWriter
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state import routing, steady_time
from gnomon.store.state.instances import instances_of
from gnomon.store.telemetry import queries
from gnomon.web.app import build_app

_LOG = structlog.get_logger(__name__)


class ControlServer(uvicorn.Server):
    """uvicorn, but signals are this process's own matter, and so is TLS."""

    def __init__(self, app: Starlette, certificate: Certificate | None) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        super().__init__(config)
        config.load()
        if certificate is not None:
            plain = config.http_protocol_class

            def covered(**parts: Any) -> asyncio.Protocol:
                return certificate.cover(plain(**parts))

            config.http_protocol_class = cast("type[asyncio.Protocol]", covered)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def main(settings: Settings, orders: Orders) -> None:
    layout = Layout(settings.data_dir)
    pair = certificates.files(settings)
    certificate = None if pair is None else await Certificate.loaded(pair)
    state = Database(sqlite_url(layout.state_file))
    telemetry = Database(sqlite_url(layout.telemetry_file))
    clock = SystemClock()
    account = Account(settings.aws.region, settings.aws.account_id)
    async with state.writing() as connection:
        offset_s = await steady_time.offset_s(
            connection, boot_id(), clock.now_s(), clock.monotonic_s()
        )
    transactions = Transactions(state, account, clock, offset_s, os.urandom, settings.quotas)
    await asyncio.to_thread(artifacts.remove_unfinished, layout.models)
    keys = open_keys(settings)
    roles = open_roles(settings, keys)
    owner = await asyncio.to_thread(owner_of, settings.data_dir)
    volumes = Volumes(Path(settings.hosting.memory_directory), owner)
    async with state.reading() as connection:
        living = await instances_of(connection, statuses=LIVE_INSTANCE)
    await asyncio.to_thread(volumes.keep_only, {instance.id for instance in living})
    archives = Archives(settings, layout, roles, volumes)
    host = HostByRuntime(
        ProcessHost(
            settings.data_dir, settings.hosting, os.environ, serving_archive.pack(layout.models)
        ),
        ExternalHost(settings.data_dir),
    )

    async def tell_anew(kms_keys: Collection[str]) -> None:
        async with transactions.call() as call:
            await routing.tell_anew(call.connection, kms_keys)
        feed.announce()

    frame_keys = FrameKeys(keys, tell_anew)

    async def changes(version: int) -> Update:
        async with state.reading() as connection:
            found = await routing.changes_since(connection, version)
        return await frame_keys.told(found)

    async def reached(barrier_id: str, capture_id: str | None) -> frozenset[str]:
        async with telemetry.reading() as connection:
            return await queries.reached_barrier(connection, barrier_id, capture_id)

    async def finished(ids: Collection[str]) -> frozenset[str]:
        async with telemetry.reading() as connection:
            return await queries.finished(connection, ids)

    judge = Judge(
        state,
        telemetry,
        default_settings(settings.analysis),
        default_guardrails(settings.analysis),
    )
    routers = RouterRegister(transactions, reached, finished, lambda: routers_of(layout.spool))
    loop_holder: list[ControlLoop] = []

    def wake(endpoint_id: str) -> None:
        loop_holder[0].wake(endpoint_id)

    def ring() -> None:
        loop_holder[0].ring()

    def has_weight(image: str) -> bool:
        hosting = settings.hosting
        try:
            runtime = runtime_of(
                image, hosting.images, hosting.interpreters, external=hosting.external
            )
        except GnomonError:
            # Its start will say what is wrong.
            return True
        return not isinstance(runtime, External)

    guardrails = Guardrails(transactions, telemetry, judge, ring)
    feed = Feed(changes, routers.seen, ring)
    floor = DiskFloor(settings.data_dir, settings.spool.min_free_bytes, free_bytes)
    keeper = InstanceKeeper(
        KeeperParts(
            transactions=transactions,
            host=host,
            prepare=archives.prepare,
            discard=volumes.discard,
            interpreter_for=Interpreters(
                settings.data_dir, settings.hosting, os.environ
            ).interpreter_for,
            settings=settings.hosting,
            threads=lambda type_: (
                settings.hosting.threads or instance_types.threads(type_, cores())
            ),
            clock=clock,
            wake=wake,
        )
    )
    loop = ControlLoop(
        transactions,
        EndpointReconciler(transactions, keeper, feed, cores=cores(), has_weight=has_weight),
        ExperimentReconciler(
            transactions, routers.missing, archives.check, wake, guardrails.at_end
        ),
        keeper,
        routers,
    )
    loop_holder.append(loop)
    warnings = Warnings(
        floor,
        (state, telemetry),
        feed.report_of,
        layout.spool,
        clock,
        lambda: "" if certificate is None else certificate.trouble,
    )
    memory_watch = MemoryWatch(host, keeper, settings.hosting)
    usage_watch = UsageWatch(
        UsageParts(
            transactions=transactions,
            host=host,
            keeper=keeper,
            settings=settings.hosting,
            clock=clock,
            cpu_percent=psutil.cpu_percent,
            memory_bytes=psutil.virtual_memory().total,
            open_spool=lambda: SpoolWriter(
                layout.spool, f"{CONTROL_PREFIX}{new_id()}", settings.spool
            ),
            is_local=has_weight,
        )
    )
    app = build_app(
        api.Api(
            api.load(),
            transactions,
            floor,
            archives.check,
            Destinations(transactions, roles, keys, volumes),
            ring,
        ),
        cloudwatch.CloudWatch(
            cloudwatch.load(), Readings(transactions, telemetry, settings.metrics)
        ),
        Reports(transactions, telemetry, judge),
        Analyses(transactions, judge, wake, settings.analysis.comparators.keys()),
        Status(
            transactions,
            warnings,
            Machine(cores(), psutil.virtual_memory().total),
            has_weight,
            telemetry,
        ),
        Scrape(transactions, telemetry, warnings.waiting, lambda: usage_watch.seen),
    )
    servers = {
        ControlServer(app, certificate): control_socket(settings.server),
        ControlServer(app, None): passing_socket(layout.control_socket),
    }
    # What is there by now stays: some 80,000 objects, most of them the service model's. Looking
    # through them now and again would hold a request up for 60 ms (`scripts/bench api`).
    gc.collect()
    gc.freeze()
    try:
        await feed.serve(layout.feed_socket)
        async with asyncio.TaskGroup() as group:
            reconciling = group.create_task(loop.run())
            for server, listener in servers.items():
                group.create_task(server.serve(sockets=[listener]))
            renewing = None if certificate is None else group.create_task(certificate.watch())
            watches = (
                Watch("the memory of instances", memory.LOOK_S, memory_watch.look),
                Watch("what instances use", usage.LOOK_S, usage_watch.tick),
                Watch("the guardrails", guarding.LOOK_S, guardrails.look),
                Watch("keys that routers lack", keying.LOOK_S, frame_keys.look),
            )
            watching = [group.create_task(watch.run()) for watch in watches]
            await orders.either()
            loop.close()
            for watch in watches:
                watch.close()
            await asyncio.gather(reconciling, *watching)
            await usage_watch.close()
            if orders.drain.is_set():
                await _stop_instances(transactions, keeper)
            for server in servers:
                server.should_exit = True
            if renewing is not None:
                renewing.cancel()
    finally:
        await feed.close()
        await keeper.close()
        await host.close()
        await state.close()
        await telemetry.close()


async def _stop_instances(transactions: Transactions, keeper: InstanceKeeper) -> None:
    """Gnomon goes down: every instance ends, and its row says why. Endpoints stay as desired."""
    async with transactions.database.reading() as connection:
        living = await instances_of(connection, statuses=LIVE_INSTANCE)
    await keeper.stop_everything(living)
    _LOG.info("instances stopped", instances=len(living))


async def main_alone(settings: Settings, _hand: Hand, orders: Orders) -> None:
    """Two controls would both start what is missing."""
    async with alone(settings.data_dir / "control.lock", orders) as is_alone:
        if is_alone:
            await main(settings, orders)


if __name__ == "__main__":
    run_child("control", main_alone)
