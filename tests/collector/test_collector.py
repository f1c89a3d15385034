import asyncio
import errno
import itertools
import json
import os
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import pytest
import structlog
from sqlalchemy import event, select

from gnomon.collector import apply, loop
from gnomon.collector.loop import Collector
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.keys import KeyUnusable
from gnomon.objects.roles import Access, Roles
from gnomon.objects.store import ObjectStoreFailed
from gnomon.objects.stores import DirectoryObjects
from gnomon.settings import SpoolSettings
from gnomon.spool.frames import Complete, Exchange, Noise, Pair
from gnomon.spool.incarnation import END_NAME, segments
from gnomon.spool.sealing import FrameOpener, FrameSeal
from gnomon.spool.segment import FILE_HEAD, OPEN_SUFFIX, SegmentReader
from gnomon.spool.writer import SpoolWriter
from gnomon.stats.state import decode
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.telemetry import queries, tables
from gnomon.testing import frames as build
from gnomon.testing.analyses import ANALYSIS_ID, default_analyses

DEFINITION = CaptureDefinition("s3://bucket/captured/", ("text/csv",))
KEY = bytes(range(32))
HELD = SpoolSettings(flush_interval_s=60.0)
FAST = SpoolSettings(flush_interval_s=0.001)
ALL_KINDS = [build.metrics(2), build.exchange(), build.pair(), build.barrier()]


class Crash(BaseException):
    """As SIGKILL: nothing in the collector sees it and goes on."""


class CrashingDatabase(Database):
    """Calls `step` before and after each write, and right before its commit."""

    step = staticmethod(lambda: None)

    @asynccontextmanager
    async def writing(self):
        self.step()
        async with super().writing() as connection:
            yield connection
            self.step()
        self.step()


class CrashingObjects(DirectoryObjects):
    """Calls `step` before and after each put."""

    step = staticmethod(lambda: None)

    # Nothing below this URL can be written.
    away = "nowhere"

    async def put(self, url, data):
        self.step()
        if url.startswith(self.away):
            raise ObjectStoreFailed(url, "it is away")
        await super().put(url, data)
        self.step()


@dataclass
class World:
    """A spool, a telemetry database and an object store; all that a collector works on."""

    root: object
    database: CrashingDatabase
    objects: CrashingObjects

    def collector(self, captures=None, roles=None, **more):
        async def known(_capture_id):
            return DEFINITION

        return Collector(
            self.root,
            self.database,
            roles or Roles(Access(self.objects, None), {}),
            captures or known,
            default_analyses,
            FrameOpener({b"wrapped": KEY, b"other": KEY[::-1]}.__getitem__),
            **{"clock": lambda: 7.0, **more},
        )

    def write(self, incarnation_id, frames, settings=HELD):
        """Frames of an incarnation that is dead since."""
        writer = SpoolWriter(self.root, incarnation_id, settings)
        for frame in frames:
            assert writer.append(frame)
        writer.close()
        return writer.directory

    async def rows(self):
        found = {}
        async with self.database.reading() as connection:
            for table in tables.metadata.sorted_tables:
                rows = await connection.execute(select(table).order_by(*table.primary_key))
                found[table.name] = [tuple(row) for row in rows]
        return found

    async def captured(self):
        return {
            item.url: await self.objects.get(item.url)
            async for item in self.objects.list("s3://bucket")
        }

    async def invocations(self):
        async with self.database.reading() as connection:
            scope = queries.Scope(experiment_id="experiment-1")
            return sum(
                item.counts.get("invocations", 0)
                for item in await queries.metrics(connection, scope)
            )

    async def pairs(self):
        async with self.database.reading() as connection:
            found = await queries.pair_state(connection, "experiment-1", ANALYSIS_ID)
        return 0 if found is None else found.pairs

    async def reached(self, barrier_id="barrier-1", capture_id="capture-1"):
        async with self.database.reading() as connection:
            return await queries.reached_barrier(connection, barrier_id, capture_id)

    async def finished(self):
        rows = (await self.rows())["finished_incarnations"]
        async with self.database.reading() as connection:
            return sorted(await queries.finished(connection, [id_ for id_, *_ in rows]))


async def _new_world(path):
    url = sqlite_url(path / "telemetry.sqlite")
    await migrate("telemetry", url)
    return World(path / "spool", CrashingDatabase(url), CrashingObjects(path / "objects"))


@pytest.fixture
async def world(tmp_path):
    world = await _new_world(tmp_path)
    yield world
    await world.database.close()


async def _until(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.005)


async def test_what_production_answered_twice_is_kept_as_noise(world):
    world.write("i1", [build.noise("a"), build.noise("b", second=build.answer(body=b"0.7"))])
    await world.collector().drain()
    async with world.database.reading() as connection:
        kept = await queries.pair_state(connection, "experiment-1", ANALYSIS_ID)
    assert kept is not None
    assert (kept.pairs, kept.noise.same, kept.noise.differ) == (0, 1, 1)


async def test_a_dead_incarnation_is_read_to_its_end_and_its_directory_goes(world):
    directory = world.write("i1", ALL_KINDS)
    await world.collector().drain()
    assert await world.invocations() == 2
    assert await world.pairs() == 1
    assert await world.reached() == {"i1"}
    (url,) = await world.captured()
    assert url.startswith("s3://bucket/captured/flights/AllTraffic/2019/11/20/23/33-12-345-")
    assert await world.finished() == ["i1"]
    assert (await world.rows())["spool_positions"] == []
    assert not directory.exists()


async def test_a_writer_that_was_cut_off_leaves_a_gap_and_one_that_ended_in_order_none(world):
    (world.write("i1", ALL_KINDS) / END_NAME).unlink()
    world.write("i2", ALL_KINDS)
    written_s = max(segment.path.stat().st_mtime for segment in segments(world.root / "i1"))
    await world.collector().drain()
    async with world.database.reading() as connection:
        found = await queries.cut_off(connection, written_s - 1, written_s + 1)
        assert found == [queries.CutOff("i1", pytest.approx(written_s, abs=1e-3))]
        assert await queries.cut_off(connection, written_s + 1, written_s + 2) == []


async def test_an_empty_spool_is_nothing_to_do(world):
    before = await world.rows()
    await world.collector().drain()
    assert await world.rows() == before


async def test_a_dead_incarnation_that_wrote_nothing_is_finished(world):
    world.write("i1", [])
    await world.collector().drain()
    assert await world.finished() == ["i1"]


async def test_rows_of_the_open_segment_are_there_and_its_objects_are_not(world):
    writer = SpoolWriter(world.root, "i1", FAST)
    collector = world.collector()
    for count in (1, 2):
        writer.append(build.metrics(1))
        writer.append(build.pair(f"event-{count}"))
        writer.append(build.exchange(f"event-{count}"))

        async def applied(count=count):
            await collector.drain()
            return await world.pairs() == count and await world.invocations() == count

        await _until(applied)
    assert await world.captured() == {}
    assert await world.finished() == []
    assert [found.closed for found in segments(writer.directory)] == [False]
    await asyncio.to_thread(writer.close)
    await collector.drain()
    (data,) = (await world.captured()).values()
    assert data.count(b"\n") == 2
    assert (await world.invocations(), await world.pairs()) == (2, 2)


async def test_a_living_incarnations_closed_segment_goes_and_the_incarnation_stays(world):
    writer = SpoolWriter(world.root, "i1", FAST)
    collector = world.collector()
    for name in ("b1", "b2"):
        writer.append(build.exchange(name))
        writer.append(build.barrier(name))

        async def reached(name=name):
            await collector.drain()
            return await world.reached(name) == {"i1"}

        await _until(reached)
    assert segments(writer.directory) == []
    assert len(await world.captured()) == 2
    assert await world.finished() == []
    # Of segments whose files are gone, no more than the last ones are remembered.
    assert len((await world.rows())["spool_positions"]) <= 2
    await asyncio.to_thread(writer.close)


async def test_whoever_sees_a_barrier_finds_the_objects_before_it(world):
    world.write("i1", ALL_KINDS)
    seen = []

    async def captures(_capture_id):
        seen.append(await world.reached())
        return DEFINITION

    await world.collector(captures).drain()
    assert seen == [frozenset()]
    assert await world.reached() == {"i1"}


async def test_records_are_grouped_by_capture_variant_and_hour(world):
    exchanges = [
        build.exchange("a"),
        build.exchange("b"),
        build.exchange("c", at_s=build.AT_S + 3600),
        build.exchange("d", variant_name="shadow"),
        build.exchange("e", capture_id="capture-2"),
    ]
    world.write("i1", exchanges)
    await world.collector().drain()
    captured = await world.captured()
    assert sorted(data.count(b"\n") for data in captured.values()) == [1, 1, 1, 2]
    assert sum("/shadow/" in url for url in captured) == 1
    assert sum("/2019/11/21/00/" in url for url in captured) == 1


async def test_exchanges_of_an_unknown_capture_are_dropped_and_told(world):
    async def captures(capture_id):
        return None if capture_id == "gone" else DEFINITION

    world.write("i1", [build.exchange(capture_id="gone"), build.exchange()])
    with structlog.testing.capture_logs() as logs:
        await world.collector(captures).drain()
    assert [(entry["event"], entry["capture_id"]) for entry in logs] == [
        ("exchanges_dropped", "gone")
    ]
    assert len(await world.captured()) == 1
    assert await world.finished() == ["i1"]


async def test_a_destination_that_is_no_url_holds_nothing_up(world):
    async def captures(_capture_id):
        return CaptureDefinition("not a url")

    world.write("i1", ALL_KINDS)
    with structlog.testing.capture_logs() as logs:
        await world.collector(captures).drain()
    assert [entry["event"] for entry in logs] == ["exchanges_dropped"]
    assert await world.reached() == {"i1"}


async def test_sealed_records_become_what_the_others_become(world):
    directory = world.write("i1", [])
    writer = SpoolWriter(world.root, "i2", HELD)
    seal = FrameSeal(b"wrapped", KEY)
    for frame in [*ALL_KINDS, build.noise()]:
        may_be_sealed = isinstance(frame, (Exchange, Pair, Noise))
        assert writer.append(frame, seal if may_be_sealed else None)
    writer.close()
    body = build.exchange().request_body
    assert body
    assert all(body not in found.path.read_bytes() for found in segments(writer.directory))
    await world.collector().drain()
    assert await world.pairs() == 1
    assert len(await world.captured()) == 1
    assert not directory.exists()


async def test_labels_of_sealed_pairs_are_kept_as_the_same_hashes_by_every_collector(world):
    late, on_time = (
        build.answer(content_type="application/json", body=body, body_bytes=len(body))
        for body in (b'{"label":"very late"}', b'{"label":"on time"}')
    )
    for number, wrapped in enumerate([b"wrapped", b"other", b"other"]):
        key = {b"wrapped": KEY, b"other": KEY[::-1]}[wrapped]
        writer = SpoolWriter(world.root, f"i{number}", HELD)
        pair = build.pair(str(number), production=late, shadow=on_time)
        assert writer.append(pair, FrameSeal(wrapped, key))
        assert writer.append(msgspec.structs.replace(pair, experiment_id="in the clear"))
        writer.close()
        await world.collector().drain()
    async with world.database.reading() as connection:
        hashed, clear = [
            await queries.pair_state(connection, experiment_id, ANALYSIS_ID)
            for experiment_id in ("experiment-1", "in the clear")
        ]
        assert list(await queries.label_keys_of(connection, ["in the clear"])) == []
    assert clear.task.confusion.counts() == [("very late", "on time", 3)]
    assert not clear.task.confusion.are_hashed
    ((production, shadow, times),) = hashed.task.confusion.counts()
    assert re.fullmatch("#[0-9a-f]{12}", production)
    assert re.fullmatch("#[0-9a-f]{12}", shadow)
    assert (production != shadow, times, hashed.task.confusion.are_hashed) == (True, 3, True)


async def test_a_torn_tail_of_a_dead_incarnation_is_told_and_left(world):
    directory = world.write("i1", [build.metrics(3), build.pair(), build.exchange()])
    (path,) = directory.glob("*.seg")
    path.write_bytes(path.read_bytes()[:-5])
    written_s = path.stat().st_mtime
    path.rename(path.with_suffix(".open"))
    with structlog.testing.capture_logs() as logs:
        await world.collector().drain()
    assert [(entry["event"], entry["segment"]) for entry in logs] == [("segment_torn", 1)]
    assert logs[0]["torn_bytes"] > 0
    async with world.database.reading() as connection:
        assert await queries.torn(connection, written_s, written_s) == [
            queries.TornSegment("i1", written_s, logs[0]["torn_bytes"])
        ]
        assert await queries.torn(connection, written_s + 1, written_s + 2) == []
    assert (await world.invocations(), await world.pairs()) == (3, 1)
    assert await world.captured() == {}
    assert await world.finished() == ["i1"]


async def test_a_frame_that_is_half_written_is_read_when_it_is_whole(world):
    directory = world.write("source", [build.metrics(1), build.pair()])
    whole = (directory / "00000001.seg").read_bytes()
    writer = SpoolWriter(world.root, "i1", HELD)
    growing = writer.directory / "00000001.open"
    growing.write_bytes(whole[:-5])
    collector = world.collector()
    await collector._collect(writer.directory)
    assert (await world.invocations(), await world.pairs()) == (1, 0)
    growing.write_bytes(whole)
    await collector._collect(writer.directory)
    assert (await world.invocations(), await world.pairs()) == (1, 1)
    await asyncio.to_thread(writer.close)


async def test_one_incarnation_that_cannot_be_read_holds_no_other_up(world):
    bad = world.write("i1", [build.pair()])
    (bad / "00000001.seg").write_bytes(FILE_HEAD.replace(b"\x01", b"\x02") + b"x")
    world.write("i2", [build.pair()])
    with structlog.testing.capture_logs() as logs:
        await world.collector().drain()
    assert [entry["event"] for entry in logs] == ["collecting_failed"]
    assert await world.pairs() == 1
    assert await world.finished() == ["i2"]
    assert bad.exists()


async def test_a_destination_that_fails_does_not_hold_up_another(world):
    async def captures(capture_id):
        kms_key = "alias/captures" if capture_id == "sealed" else ""
        return CaptureDefinition(f"s3://bucket/{capture_id}", kms_key=kms_key)

    kms_off = KeyUnusable("alias/captures", "it is disabled")

    async def put_encrypted(url, data, kms_key):
        assert (url.startswith("s3://bucket/sealed/"), kms_key) == (True, "alias/captures")
        if kms_off is not None:
            raise kms_off
        await world.objects.put(url, data)

    world.objects.put_encrypted = put_encrypted
    world.write("i1", [build.exchange(capture_id=name) for name in ("sealed", "a", "b")])
    with structlog.testing.capture_logs() as logs:
        await world.collector(captures).drain()
    assert [entry["reason"] for entry in logs] == [str(kms_off)]
    assert sorted(url.split("/")[3] for url in await world.captured()) == ["a", "b"]
    kms_off = None
    await world.collector(captures).drain()
    assert sorted(url.split("/")[3] for url in await world.captured()) == ["a", "b", "sealed"]
    assert await world.finished() == ["i1"]


async def test_each_capture_is_written_with_its_own_role_and_waits_for_one_that_is_not_known(
    world, tmp_path
):
    async def captures(capture_id):
        return CaptureDefinition(f"s3://bucket/{capture_id}", role_arn=f"role/{capture_id}")

    async def written(name):
        return [item.url.split("/")[3] async for item in stores[name].list("s3://bucket")]

    stores = {name: DirectoryObjects(tmp_path / name) for name in ("a", "b", "late")}
    known = {f"role/{name}": Access(stores[name], None, f"role/{name}") for name in ("a", "b")}
    world.write("i1", [build.exchange(capture_id=name) for name in ("a", "late", "b")])
    with structlog.testing.capture_logs() as logs:
        await world.collector(captures, Roles(None, known)).drain()
    assert [entry["reason"].split(". ")[0] for entry in logs] == ["Could not assume role role/late"]
    assert [await written(name) for name in stores] == [["a"], ["b"], []]
    assert await world.finished() == []
    known["role/late"] = Access(stores["late"], None)
    await world.collector(captures, Roles(None, known)).drain()
    assert [await written(name) for name in stores] == [["a"], ["b"], ["late"]]
    assert await world.finished() == ["i1"]


async def test_rows_do_not_wait_for_an_object_store_that_fails(world):
    class Down(Exception):
        pass

    def fail():
        raise Down

    world.objects.step = fail
    world.write("i1", [build.exchange(), build.barrier("b1"), build.pair(), build.barrier("b2")])
    with structlog.testing.capture_logs():
        await world.collector().drain()
    assert await world.pairs() == 1
    assert await world.reached("b1") == await world.reached("b2") == frozenset()
    del world.objects.step
    await world.collector().drain()
    assert await world.reached("b1") == await world.reached("b2") == {"i1"}
    assert len(await world.captured()) == 1


async def test_run_goes_on_after_an_error_and_ends_when_told(world):
    calls = []

    async def captures(capture_id):
        calls.append(capture_id)
        if len(calls) < 3:
            raise ZeroDivisionError
        return DEFINITION

    ticks = iter(range(0, 10**9, 100))
    world.write("i1", ALL_KINDS)
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        # Each look at this clock is 100 s later, so that no rest is waited for.
        running = asyncio.create_task(
            world.collector(captures, monotonic=lambda: next(ticks)).run(stop)
        )

        async def done():
            return await world.finished() == ["i1"]

        await _until(done)
        stop.set()
        await asyncio.wait_for(running, 60)
    assert [(entry["event"], entry.get("retry_in_s")) for entry in logs] == [
        ("collecting_failed", 0.5),
        ("collecting_failed", 1.0),
        ("collecting_goes_on", None),
    ]
    assert (await world.invocations(), await world.pairs()) == (2, 1)


async def test_an_incarnation_that_failed_rests_longer_each_time(world):
    calls = 0

    async def captures(_capture_id):
        nonlocal calls
        calls += 1
        raise OSError("away")

    world.write("i1", ALL_KINDS)
    now = [0.0]
    collector = world.collector(captures, monotonic=lambda: now[0])
    counted = []
    with structlog.testing.capture_logs():
        for now[0] in (0.0, 0.4, 0.6, 1.5, 1.7):
            await collector._collect_due()
            counted.append(calls)
    assert counted == [1, 1, 2, 2, 3]


STORY = [
    build.metrics(1),
    build.pair("a"),
    build.exchange("a"),
    build.metrics(2),
    build.exchange("b", variant_name="shadow"),
    build.pair("b"),
    build.barrier("b1"),
    build.exchange("c", at_s=build.AT_S + 3600),
    build.exchange("d"),
    build.metrics(4, minute=5),
    build.barrier("b2"),
    build.pair("c"),
]


def _crash_at(world, crash_at):
    """Database and store count their steps together; at that one a collector dies, if it comes."""
    steps = itertools.count(1)

    def step():
        if next(steps) == crash_at:
            raise Crash

    world.database.step = world.objects.step = step


async def _story(path, crash_at):
    """What is left when the collector dies at step `crash_at`, and a second one follows."""
    path.mkdir()
    world = await _new_world(path)
    world.write("i1", STORY)
    _crash_at(world, crash_at)
    crashed = False
    try:
        await world.collector().drain()
    except Crash:
        crashed = True
        await world.collector().drain()
    state = (await world.rows(), await world.captured(), list(world.root.iterdir()))
    await world.database.close()
    return state, crashed


@pytest.mark.slow
async def test_a_collector_killed_at_any_step_leaves_what_one_that_lived_leaves(
    tmp_path, monkeypatch
):
    # Several transactions a segment.
    monkeypatch.setattr(apply, "_BATCH_FRAMES", 2)
    expected, crashed = await _story(tmp_path / "lived", crash_at=0)
    assert not crashed
    ((*_, kept),) = expected[0]["pair_parts"]
    assert decode(kept).pairs == 3
    assert len(expected[1]) == 4
    step = 0
    while crashed or step == 0:
        step += 1
        state, crashed = await _story(tmp_path / str(step), crash_at=step)
        assert state == expected, f"after a crash at step {step}"
    assert step > 20


async def test_a_crash_after_the_objects_gives_no_second_object(world):
    world.write("i1", ALL_KINDS)
    puts = 0

    def step():
        nonlocal puts
        puts += 1
        if puts == 2:
            raise Crash

    world.objects.step = step
    with pytest.raises(Crash):
        await world.collector().drain()
    first = await world.captured()
    assert len(first) == 1
    await world.collector().drain()
    assert await world.captured() == first
    assert (await world.invocations(), await world.pairs()) == (2, 1)


async def test_a_spool_that_cannot_be_read_is_said_once_in_a_sentence(world, monkeypatch):
    world.write("i1", [build.pair()])

    async def unreadable(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "00000001.seg")

    now = [0.0]
    collector = world.collector(monotonic=lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(loop, "apply_rows", unreadable)
            for now[0] in (0.0, 1.0, 3.0):
                await collector._collect_due()
        now[0] = 100.0
        await collector._collect_due()
    assert [entry["event"] for entry in logs] == ["collecting_failed", "collecting_goes_on"]
    assert logs[0]["reason"] == (
        "00000001.seg cannot be used, since its disk fails (I/O error): see what the kernel's log "
        "says of it."
    )
    assert "exc_info" not in logs[0]
    assert await world.pairs() == 1


async def test_a_full_object_store_is_said_once_and_caught_up_with(world):
    def full():
        raise ObjectStoreFailed("s3://bucket/captured/x", "No space left on device (os error 28)")

    world.objects.step = full
    directory = world.write("i1", [build.metrics(2), build.exchange(), build.pair()])
    now = [0.0]
    collector = world.collector(monotonic=lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for now[0] in (0.0, 1.0, 3.0, 10.0, 30.0):
            await collector._collect_due()
        assert segments(directory)
        # Rows do not wait for objects, and are not taken twice.
        assert (await world.invocations(), await world.pairs()) == (2, 1)
        del world.objects.step
        now[0] = 100.0
        await collector._collect_due()
    assert [entry["event"] for entry in logs] == ["collecting_failed", "collecting_goes_on"]
    assert logs[0]["reason"] == (
        "The object store failed at s3://bucket/captured/x: No space left on device (os error 28)"
    )
    assert "exc_info" not in logs[0]
    assert len(await world.captured()) == 1
    assert (await world.invocations(), await world.pairs()) == (2, 1)
    assert not directory.exists()


async def test_a_segment_that_is_closed_after_it_was_listed_is_read_on(world):
    directory = world.write("i1", [build.metrics(2), build.pair()])
    (closed,) = segments(directory)
    listed = closed.path.with_suffix(OPEN_SUFFIX)
    opener = FrameOpener({}.__getitem__)
    await apply.apply_rows(world.database, "i1", 1, listed, 0, default_analyses, opener, None, int)
    assert (await world.invocations(), await world.pairs()) == (2, 1)


async def test_a_full_telemetry_database_loses_and_doubles_nothing(world):
    pages = [1]

    def limit(connection, _record, _proxy):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {pages[0]}")
        cursor.close()

    event.listen(world.database.engine.sync_engine, "checkout", limit)
    counted = [build.metrics(1, instance_id=f"instance-{number}") for number in range(2000)]
    world.write("i1", [*counted, build.pair(), build.exchange()])
    now = [0.0]
    collector = world.collector(monotonic=lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for now[0] in (0.0, 1.0, 3.0, 10.0):
            await collector._collect_due()
        before = (await world.rows())["spool_positions"]
        assert await world.invocations() == sum(1000 for _ in before)
        assert await world.captured() == {}
        pages[0] = 2**31 - 1
        now[0] = 100.0
        await collector._collect_due()
    assert [entry["event"] for entry in logs] == [
        "a database fails",
        "collecting_failed",
        "a database works again",
        "collecting_goes_on",
    ]
    assert "its disk is full: free space there" in logs[1]["reason"]
    assert (await world.invocations(), await world.pairs()) == (2000, 1)
    assert len(await world.captured()) == 1


async def by_capture(capture_id):
    """Each capture has a destination of its own."""
    return CaptureDefinition(f"s3://bucket/{capture_id}")


def of(capture_id, event_id="event-1"):
    return build.exchange(event_id, capture_id=capture_id)


async def captured_events(world, capture_id):
    found = (await world.captured()).items()
    lines = [
        line
        for url, data in found
        if url.startswith(f"s3://bucket/{capture_id}/")
        for line in data.splitlines()
    ]
    return sorted(json.loads(line)["eventMetadata"]["eventId"] for line in lines)


TWO_TESTS = [
    build.metrics(1),
    build.pair("a"),
    of("ill", "a"),
    of("well", "a"),
    build.barrier("first"),
    of("well", "b"),
    of("ill", "b"),
    build.barrier("of well"),
    of("ill", "c"),
    build.metrics(2),
    build.barrier("of ill"),
    build.pair("b"),
]


async def test_a_barrier_waits_for_its_own_destination_only(world):
    world.write("i1", TWO_TESTS)
    world.objects.away = "s3://bucket/ill"
    collector = world.collector(by_capture)
    with structlog.testing.capture_logs() as logs:
        await collector.drain()
        assert await captured_events(world, "well") == ["a", "b"]
        assert await world.reached("of well", "well") == {"i1"}
        assert await world.reached("of ill", "ill") == frozenset()
        # Of tests that capture nothing, all is in.
        assert await world.reached("of well", None) == {"i1"}
        assert (await world.invocations(), await world.pairs()) == (3, 2)
        assert await world.finished() == []
        world.objects.away = "nowhere"
        await collector.drain()
    assert [(entry["event"], entry["capture_id"]) for entry in logs] == [
        ("collecting_failed", "ill"),
        ("collecting_goes_on", "ill"),
    ]
    assert await captured_events(world, "ill") == ["a", "b", "c"]
    assert await world.reached("of ill", "ill") == {"i1"}
    assert await world.finished() == ["i1"]
    rows = await world.rows()
    assert rows["unwritten_captures"] == rows["spool_positions"] == []
    assert list(world.root.iterdir()) == []


async def test_a_dead_router_holds_up_only_whose_records_it_has(world):
    (world.write("i1", [of("ill"), of("well"), build.pair()]) / END_NAME).unlink()
    written_s = max(segment.path.stat().st_mtime for segment in segments(world.root / "i1"))
    world.objects.away = "s3://bucket/ill"
    collector = world.collector(by_capture)
    with structlog.testing.capture_logs():
        await collector.drain()
        # It wrote no barrier, and will not.
        assert await world.reached("of well", "well") == {"i1"}
        assert await world.reached("of ill", "ill") == frozenset()
        world.objects.away = "nowhere"
        await world.collector(by_capture).drain()
    assert await world.reached("of ill", "ill") == {"i1"}
    async with world.database.reading() as connection:
        assert await queries.cut_off(connection, written_s - 1, written_s + 1) == [
            queries.CutOff("i1", pytest.approx(written_s, abs=1e-3))
        ]


async def test_while_one_destination_rests_others_get_what_is_new_and_nothing_twice(
    world, monkeypatch
):
    puts = []
    put = world.objects.put

    async def noted_put(url, data):
        puts.append(url.split("/")[3])
        await put(url, data)

    def unread(reader):
        raise AssertionError(f"{reader.path} is read again")

    world.objects.put = noted_put
    world.objects.away = "s3://bucket/ill"
    writer = SpoolWriter(world.root, "i1", FAST)
    now = [0.0]
    collector = world.collector(by_capture, monotonic=lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            for frame in (of("ill", f"e{number}"), of("well", f"e{number}")):
                assert writer.append(frame)
            assert writer.append(build.metrics(1))
            assert writer.append(build.barrier(f"b{number}"))

            async def reached(number=number):
                await collector._collect_due()
                return await world.reached(f"b{number}", "well") == {"i1"}

            await _until(reached)
            assert await world.invocations() == number + 1
        # No time passed: it was tried once. What only waits for it is not read again.
        assert sorted(puts) == ["ill", "well", "well", "well"]
        with monkeypatch.context() as patched:
            patched.setattr(SegmentReader, "__iter__", unread)
            await collector._collect_due()
        now[0] = 1.0
        await collector._collect_due()
        assert sorted(puts) == ["ill", "ill", "well", "well", "well"]
        world.objects.away = "nowhere"
        now[0] = 10.0
        await collector._collect_due()
    assert sorted(puts) == ["ill"] * 5 + ["well"] * 3
    assert await captured_events(world, "ill") == ["e0", "e1", "e2"]
    assert [entry["event"] for entry in logs] == ["collecting_failed", "collecting_goes_on"]
    assert segments(writer.directory) == []
    await asyncio.to_thread(writer.close)


async def _outage(path, crash_at):
    """A destination is away for one whole look, and is back at the next; a collector that dies at
    step `crash_at` is followed by another. What is left, whether it died.
    """
    path.mkdir()
    world = await _new_world(path)
    world.write("i1", TWO_TESTS)
    _crash_at(world, crash_at)
    crashed = False
    collector = world.collector(by_capture)
    for world.objects.away in ("s3://bucket/ill", "nowhere"):
        try:
            await collector.drain()
        except Crash:
            crashed = True
            await _all_is_there_that_is_said_to_be(world)
            collector = world.collector(by_capture)
            await collector.drain()
        await _all_is_there_that_is_said_to_be(world)
    state = (await world.rows(), await world.captured(), list(world.root.iterdir()))
    await world.database.close()
    return state, crashed


async def _all_is_there_that_is_said_to_be(world):
    for capture_id, events in (("well", ["a", "b"]), ("ill", ["a", "b", "c"])):
        if await world.reached(f"of {capture_id}", capture_id):
            assert await captured_events(world, capture_id) == events


@pytest.mark.slow
async def test_a_collector_killed_at_any_step_of_an_outage_leaves_what_one_that_lived_leaves(
    tmp_path,
):
    with structlog.testing.capture_logs():
        expected, crashed = await _outage(tmp_path / "lived", crash_at=0)
        assert not crashed
        assert len(expected[1]) == 5
        step = 0
        while crashed or step == 0:
            step += 1
            state, crashed = await _outage(tmp_path / str(step), crash_at=step)
            assert state == expected, f"after a crash at step {step}"
    assert step > 30


@pytest.mark.parametrize(
    ("waiting_bytes", "of"),
    [(0, 1), (32 * 1024 * 1024 - 1, 1), (32 * 1024 * 1024, 10), (10**12, 10)],
)
def test_of_what_waits_long_one_pair_in_ten_is_compared(waiting_bytes, of):
    assert apply.compared_of(waiting_bytes) == of


async def test_what_waits_is_summed_over_the_whole_spool(world, monkeypatch):
    small = SpoolSettings(flush_interval_s=0.001, segment_bytes=4_000)
    world.write("i1", [build.pair(f"a-{number}") for number in range(40)], small)
    world.write("i2", [build.pair(f"b-{number}") for number in range(40)], small)
    sizes = [
        [one.path.stat().st_size for one in segments(world.root / name)] for name in ("i1", "i2")
    ]
    assert min(map(len, sizes)) > 1
    seen = []

    def compared_of(waiting_bytes):
        seen.append(waiting_bytes)
        return 10 if waiting_bytes > sum(sizes[1]) else 1

    monkeypatch.setattr(apply, "compared_of", compared_of)
    await world.collector().drain()
    whole = [*sizes[0], *sizes[1]]
    assert seen == [sum(whole[place + 1 :]) for place in range(len(whole))]
    # The others of the first incarnation, and all of the second, waited.
    async with world.database.reading() as connection:
        state = await queries.pair_state(connection, "experiment-1", ANALYSIS_ID)
    assert state.pairs == 80
    assert state.answers.unknown["not_compared"] + state.answers.compared == 80


async def _complete(world):
    async with world.database.reading() as connection:
        found = await queries.complete_pairs(connection, "experiment-1", ANALYSIS_ID)
    return 0 if found is None else found.pairs


async def test_pairs_are_complete_as_far_as_each_living_router_has_said_all(world):
    collector = world.collector(clock=lambda: 1000.0)
    writers = [SpoolWriter(world.root, name, FAST) for name in ("i1", "i2", "control-1")]
    one, other, _ = writers

    async def collected(writer, *frames):
        for frame in frames:
            writer.append(frame)
        while writer.waiting_bytes:
            await asyncio.sleep(0.001)
        await collector._collect_due()
        return await _complete(world)

    early, late = (build.pair(f"{at_s}", at_s=at_s) for at_s in (900.0, 920.0))
    assert await collected(one, early, late) == 0
    assert await collected(one, Complete(950.0)) == 0
    assert await collected(other, Complete(910.0)) == 1
    # The other one's pair of the same second as `late` was slow.
    assert await collected(other, build.pair("slow", at_s=920.5), Complete(919.0)) == 1
    assert await world.pairs() == 3
    assert await collected(other, Complete(950.0)) == 3
    # One that ended in order has said all.
    other.close()
    assert await collected(one, build.pair("last", at_s=960.0), Complete(990.0)) == 4
    for writer in (one, writers[2]):
        writer.close()


async def test_pairs_of_a_router_that_says_nothing_are_complete_after_the_longest_exchange(world):
    now = [1000.0]
    collector = world.collector(clock=lambda: now[0], longest_exchange_s=30.0)
    writer = SpoolWriter(world.root, "i1", FAST)
    writer.append(build.pair("early", at_s=980.0))
    while writer.waiting_bytes:
        await asyncio.sleep(0.001)
    for now_s, complete in ((1000.0, 0), (1011.0, 0), (1012.5, 1)):
        now[0] = now_s
        await collector._collect_due()
        assert await _complete(world) == complete
    writer.close()
