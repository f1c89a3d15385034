"""The spool survives real SIGKILLs, of either side."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gnomon.collector.loop import Collector
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.roles import Access, Roles
from gnomon.objects.stores import DirectoryObjects
from gnomon.settings import SpoolSettings
from gnomon.spool.sealing import FrameOpener
from gnomon.spool.writer import SpoolWriter
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.telemetry import queries
from gnomon.testing import frames as build
from gnomon.testing.analyses import ANALYSIS_ID, default_analyses

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

COLLECT = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from gnomon.model.spec import CaptureDefinition
    from gnomon.collector.loop import Collector
    from gnomon.objects.roles import Access, Roles
    from gnomon.objects.stores import DirectoryObjects
    from gnomon.spool.sealing import FrameOpener
    from gnomon.store.database import Database, sqlite_url
    from gnomon.testing.analyses import default_analyses

    async def captures(capture_id):
        return CaptureDefinition("s3://bucket/captured")

    async def main(path):
        database = Database(sqlite_url(path / "telemetry.sqlite"))
        roles = Roles(Access(DirectoryObjects(path / "objects"), None), {})
        no_keys = FrameOpener({}.__getitem__)
        collector = Collector(
            path / "spool", database, roles, captures, default_analyses, no_keys
        )
        print("ready", flush=True)
        while True:
            await collector.drain()

    asyncio.run(main(Path(sys.argv[1])))
""")

WRITE = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from gnomon.settings import SpoolSettings
    from gnomon.spool.writer import SpoolWriter
    from gnomon.testing import frames as build

    writer = SpoolWriter(Path(sys.argv[1]), "i1", SpoolSettings(flush_interval_s=0.001))
    for number in range(10**9):
        writer.append(build.pair(f"event-{number}"))
        writer.append(build.exchange(f"event-{number}"))
        while writer.waiting_bytes:
            time.sleep(0.001)
        print(number, flush=True)
""")


def _start(script, path):
    return subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)


async def _drain_in_process(path):
    """Pairs counted, and records captured, once all there is has been collected."""

    async def captures(_capture_id):
        return CaptureDefinition("s3://bucket/captured")

    database = Database(sqlite_url(path / "telemetry.sqlite"))
    objects = DirectoryObjects(path / "objects")
    roles = Roles(Access(objects, None), {})
    no_keys = FrameOpener({}.__getitem__)
    await Collector(path / "spool", database, roles, captures, default_analyses, no_keys).drain()
    async with database.reading() as connection:
        metrics = await queries.metrics(connection, queries.Scope(experiment_id="experiment-1"))
        pairs = await queries.pair_state(connection, "experiment-1", ANALYSIS_ID)
    await database.close()
    records = 0
    async for item in objects.list("s3://bucket"):
        records += (await objects.get(item.url)).count(b"\n")
    return sum(item.counts.get("invocations", 0) for item in metrics), pairs.pairs, records


async def test_a_collector_killed_again_and_again_counts_everything_once(tmp_path):
    await migrate("telemetry", sqlite_url(tmp_path / "telemetry.sqlite"))
    settings = SpoolSettings(flush_interval_s=0.001, segment_bytes=20_000)
    writer = SpoolWriter(tmp_path / "spool", "i1", settings)
    written = 0
    for round_s in (0.05, 0.11, 0.17, 0.23):
        with _start(COLLECT, tmp_path) as child:
            child.stdout.readline()
            until = time.monotonic() + round_s
            while time.monotonic() < until:
                written += 1
                writer.append(build.metrics(1))
                writer.append(build.pair(f"event-{written}"))
                writer.append(build.exchange(f"event-{written}"))
                await asyncio.sleep(0)
            os.kill(child.pid, signal.SIGKILL)
    await asyncio.to_thread(writer.close)
    assert writer.dropped == {}
    assert await _drain_in_process(tmp_path) == (written, written, written)


async def test_what_a_killed_writer_had_written_is_collected(tmp_path):
    await migrate("telemetry", sqlite_url(tmp_path / "telemetry.sqlite"))
    with _start(WRITE, tmp_path / "spool") as child:
        lines = 0
        while lines < 50:
            child.stdout.readline()
            lines += 1
        os.kill(child.pid, signal.SIGKILL)
        lines += len(child.stdout.readlines())
    _, pairs, records = await _drain_in_process(tmp_path)
    # The one that was on its way may have come too.
    assert pairs in {lines, lines + 1}
    assert records in {lines, lines + 1}
