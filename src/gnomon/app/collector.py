"""The collector process: from the spool to objects and telemetry."""

from __future__ import annotations

import asyncio
import fcntl

from gnomon.app.child import Hand, Orders, run_child
from gnomon.collector.loop import Collector
from gnomon.model.layout import Layout
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.directory import DirectoryObjects
from gnomon.settings import Settings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state.instances import get_capture

# How long a collector that is told to end goes on emptying the spool, in seconds; the rest stays
# for the next start.
_DRAIN_S = 30.0


async def main(settings: Settings, _hand: Hand, orders: Orders) -> None:
    layout = Layout(settings.data_dir)
    state = Database(sqlite_url(layout.state_file))
    telemetry = Database(sqlite_url(layout.telemetry_file))

    async def capture(capture_id: str) -> CaptureDefinition | None:
        async with state.reading() as connection:
            return await get_capture(connection, capture_id)

    collector = Collector(layout.spool, telemetry, DirectoryObjects(layout.objects), capture)
    stop = asyncio.Event()
    with (layout.root / "collector.lock").open("a") as lock:
        # The one before may still be finishing; the lock is its for life.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(collector.run(stop))
                await orders.either()
                stop.set()
            if orders.drain.is_set():
                async with asyncio.timeout(_DRAIN_S):
                    await collector.drain()
        except TimeoutError:
            pass
        finally:
            await state.close()
            await telemetry.close()


if __name__ == "__main__":
    run_child("collector", main)
