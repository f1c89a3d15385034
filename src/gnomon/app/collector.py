"""The collector process: from the spool to objects and telemetry."""

from __future__ import annotations

import asyncio
import time

from gnomon.app.child import Hand, Orders, alone, run_child
from gnomon.cli.time_limits import SPOOL_S
from gnomon.collector.loop import Collector
from gnomon.collector.retention import Retention
from gnomon.model.layout import Layout
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.opening import open_keys, open_objects
from gnomon.settings import Settings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state.instances import get_capture


async def main(settings: Settings, _hand: Hand, orders: Orders) -> None:
    layout = Layout(settings.data_dir)
    state = Database(sqlite_url(layout.state_file))
    telemetry = Database(sqlite_url(layout.telemetry_file))

    async def capture(capture_id: str) -> CaptureDefinition | None:
        async with state.reading() as connection:
            return await get_capture(connection, capture_id)

    objects = open_objects(settings, open_keys(settings))
    collector = Collector(layout.spool, telemetry, objects, capture)
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
        await state.close()
        await telemetry.close()


async def main_alone(settings: Settings, hand: Hand, orders: Orders) -> None:
    """Two collectors would take over the same frames."""
    async with alone(settings.data_dir / "collector.lock", orders) as is_alone:
        if is_alone:
            await main(settings, hand, orders)


if __name__ == "__main__":
    run_child("collector", main_alone)
