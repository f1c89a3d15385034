"""The collector process: from the spool to objects and telemetry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from gnomon.app.child import Hand, Orders, alone, run_child
from gnomon.cli.time_limits import SPOOL_S
from gnomon.collector.comparator import UserComparator, functions_named
from gnomon.collector.loop import Collector
from gnomon.collector.retention import Retention
from gnomon.model.analysis import (
    AnalysisRecord,
    default_guardrails,
    default_record,
    default_settings,
)
from gnomon.model.layout import Layout
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.opening import open_keys, open_roles
from gnomon.settings import Settings
from gnomon.spool.sealing import CONTEXT, FrameOpener
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state.analyses import analyses_of
from gnomon.store.state.instances import get_capture

# How long a pair may take from its shadow's answer to the disk.
_SPOOLED_S = 30.0


async def main(settings: Settings, _hand: Hand, orders: Orders) -> None:
    layout = Layout(settings.data_dir)
    state = Database(sqlite_url(layout.state_file))
    telemetry = Database(sqlite_url(layout.telemetry_file))

    async def capture(capture_id: str) -> CaptureDefinition | None:
        async with state.reading() as connection:
            return await get_capture(connection, capture_id)

    defaults = default_settings(settings.analysis)
    guardrails = default_guardrails(settings.analysis)

    async def analyses(experiment_ids: Collection[str]) -> dict[str, AnalysisRecord]:
        if not experiment_ids:
            return {}
        async with state.reading() as connection:
            own = await analyses_of(connection, experiment_ids)
        return {
            id_: own.get(id_) or default_record(id_, defaults, guardrails) for id_ in experiment_ids
        }

    keys = open_keys(settings)
    roles = open_roles(settings, keys)
    users = {
        name: UserComparator(*function)
        for name, function in functions_named(settings.analysis).items()
    }
    collector = Collector(
        layout.spool,
        telemetry,
        roles,
        capture,
        analyses,
        FrameOpener(lambda wrapped: keys.unwrap(wrapped, CONTEXT)),
        users=users,
        longest_exchange_s=2 * settings.router.model_time_limit_s
        + settings.router.stream_time_limit_s
        + _SPOOLED_S,
    )
    retention = Retention(telemetry, settings.metrics, time.time)
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(collector.run(stop))
            group.create_task(retention.run(stop))
            await orders.either()
            stop.set()
        if orders.drain.is_set():
            async with asyncio.timeout(SPOOL_S):
                await collector.drain()
    except TimeoutError:
        pass
    finally:
        for user in users.values():
            user.close()
        await state.close()
        await telemetry.close()


async def main_alone(settings: Settings, hand: Hand, orders: Orders) -> None:
    """Two collectors would take over the same frames."""
    async with alone(settings.data_dir / "collector.lock", orders) as is_alone:
        if is_alone:
            await main(settings, hand, orders)


if __name__ == "__main__":
    run_child("collector", main_alone)
