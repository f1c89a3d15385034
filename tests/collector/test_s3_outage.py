"""An S3 server that goes away in the middle: what is captured waits, and comes whole."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from gnomon.collector.loop import Collector
from gnomon.model.arn import Account
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.store import ObjectStoreFailed
from gnomon.settings import SpoolSettings
from gnomon.spool.incarnation import backlog
from gnomon.spool.sealing import FrameOpener
from gnomon.spool.writer import SpoolWriter
from gnomon.testing import frames as build
from gnomon.testing.analyses import default_analyses
from gnomon.testing.databases import migrated
from gnomon.testing.s3_server import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

DESTINATION = "s3://bucket/captured"
# A record becomes a segment of its own within a moment.
FAST = SpoolSettings(flush_interval_s=0.001, segment_age_s=0.02)
PATIENCE_S = 60.0


async def until(holds, what):
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@asynccontextmanager
async def stopped_at_the_end(server):
    """Whatever becomes of the test."""
    try:
        yield
    finally:
        server.stop()


@pytest.mark.parametrize("kms_key", ["", "alias/captures"])
async def test_nothing_is_lost_or_doubled_while_the_store_is_away(tmp_path, kms_key):
    (tmp_path / "s3").mkdir()
    server = S3Server(tmp_path / "s3")
    keys = LocalKeys(tmp_path / "keys.json", Account("us-east-1", "000000000000"))
    keys.create(1.0, "", "captures")
    objects = SealedObjects(server.objects(), keys)

    async def captures(_capture_id):
        return CaptureDefinition(DESTINATION, ("text/csv",), kms_key=kms_key)

    async def events():
        found = []
        try:
            async for item in objects.list(DESTINATION):
                lines = (await objects.get(item.url)).splitlines()
                found += [json.loads(line)["eventMetadata"]["eventId"] for line in lines]
        except ObjectStoreFailed:
            # It lists what it cannot read yet, for a moment after its start.
            return None
        return sorted(found)

    async def write(names):
        for name in names:
            assert writer.append(build.exchange(name))
            await asyncio.sleep(0.03)

    spool = tmp_path / "spool"
    async with stopped_at_the_end(server), migrated("telemetry", tmp_path) as database:
        server.start()
        writer = SpoolWriter(spool, "i1", FAST)
        stop = asyncio.Event()
        no_keys = FrameOpener({}.__getitem__)
        roles = Roles(Access(objects, keys), {})
        collector = Collector(spool, database, roles, captures, default_analyses, no_keys)
        collecting = asyncio.create_task(collector.run(stop))
        try:
            await write(["a1", "a2"])

            async def first_are_there():
                return await events() == ["a1", "a2"]

            await until(first_are_there, "the first records")
            server.stop()
            await write([f"b{number}" for number in range(5)])

            async def they_wait():
                found = backlog(spool)
                return found.waiting_bytes > 0 and found.since_s is not None

            await until(they_wait, "a backlog")
            server.start()
            await write(["c1"])

            async def all_are_there():
                found[:] = await events() or ()
                return len(found) >= 8

            found = []
            await until(all_are_there, "the records of the outage")
            assert found == ["a1", "a2", "b0", "b1", "b2", "b3", "b4", "c1"]
        finally:
            stop.set()
            await collecting
            writer.close()
