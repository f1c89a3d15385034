"""A real collector process, started as the supervisor starts it, for what lies in a spool.

Its counterpart is `bench.kit.router`, which may write into the same data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.kit.process import cpu_s, running
from bench.kit.report import CannotMeasure
from gnomon import settings_reading
from gnomon.app.child import KEY_BYTES, VARIABLE, Hand
from gnomon.model.layout import Layout
from gnomon.model.spec import CaptureDefinition
from gnomon.settings import ObjectsSettings, Settings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state.instances import add_capture

CAPTURE_ID = "capture"
BUCKET = "bucket"
# Both bodies are JSON, and are kept as text.
_DEFINITION = CaptureDefinition(f"s3://{BUCKET}/captured", json_content_types=("application/json",))
_KEY = bytes(KEY_BYTES)
# For what lies in a spool to be written, however busy the machine is.
_TAKE_TIME_LIMIT_S = 60.0
_LOOK_S = 0.005


@dataclass(frozen=True)
class BenchedCollector:
    """The collector that runs."""

    pid: int
    layout: Layout

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def take(self, incarnation: Path) -> float:
        """Put what a dead router left into the spool; how long it takes until it is collected (s),
        with the wait for the collector's next look.
        """
        self.layout.spool.mkdir(exist_ok=True)
        placed = self.layout.spool / incarnation.name
        began_s = time.monotonic()
        incarnation.rename(placed)
        while placed.exists():
            if time.monotonic() > began_s + _TAKE_TIME_LIMIT_S:
                log = _log(self.layout.root).read_text(errors="replace")
                raise CannotMeasure(f"The collector is not done; it said:\n{log[-1500:]}")
            time.sleep(_LOOK_S)
        return time.monotonic() - began_s


@contextlib.contextmanager
def running_collector(
    directory: Path, cores: frozenset[int], objects: ObjectsSettings
) -> Iterator[BenchedCollector]:
    """One on the data directory, which is there; it knows one capture, CAPTURE_ID."""
    asyncio.run(_databases(directory))
    with contextlib.ExitStack() as stack:
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        stack.callback(os.close, reading)
        os.write(writing, _KEY)
        settings = Settings(data_dir=directory, objects=objects)
        hand = Hand(settings=settings_reading.encode(settings), lifetime=reading)
        process = stack.enter_context(
            running(
                [sys.executable, "-m", "gnomon.app.collector"],
                cores,
                _log(directory),
                environ={VARIABLE: hand.encode()},
                pass_fds=(reading,),
            )
        )
        yield BenchedCollector(process.pid, Layout(directory))


def _log(directory: Path) -> Path:
    return directory / "collector.log"


async def _databases(directory: Path) -> None:
    layout = Layout(directory)
    await migrate("state", sqlite_url(layout.state_file))
    await migrate("telemetry", sqlite_url(layout.telemetry_file))
    state = Database(sqlite_url(layout.state_file))
    try:
        async with state.writing() as connection:
            await add_capture(connection, CAPTURE_ID, _DEFINITION)
    finally:
        await state.close()
