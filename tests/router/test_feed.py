"""The router's end of the feed, against a scripted control on a real socket."""

import asyncio
import contextlib
import socket

import pytest

from gnomon.model.snapshot import Incarnation, Report, Update
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.router.snapshot_file import save
from gnomon.settings import RouterSettings
from gnomon.testing.fake_control_feed import FakeControlFeed
from gnomon.testing.fake_spool import FakeSpool
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import NOBODY, endpoint, running_router, until, variant


@pytest.fixture
async def control(tmp_path):
    async with FakeControlFeed(tmp_path / "feed.sock") as feed:
        yield feed


@contextlib.asynccontextmanager
async def introduced(tmp_path, control, update):
    """A router that was given the update before it served; its next report is not read yet."""

    async def introduce():
        report = await control.report()
        await control.answer(update)
        return report

    async with asyncio.TaskGroup() as group:
        first = group.create_task(introduce())
        async with running_router(tmp_path) as rig:
            yield rig, await first


async def test_a_router_reports_what_it_has_and_takes_what_is_new(tmp_path, control):
    async with (
        FakeUpstream() as model,
        introduced(tmp_path, control, Update(3)) as (rig, report),
    ):
        assert (report.incarnation.id, report.version, report.busy) == ("incarnation", 0, ())
        assert (await control.report()).version == 3
        await control.answer(Update(4, (endpoint("demo", variant("v", model.port)),)))
        assert (await control.report()).version == 4
        assert (await rig.invoke("demo", b"x")).body == b"x"
        await control.answer(Update(4))
        assert (await control.report()).version == 4


async def test_busy_instances_are_reported_until_they_are_free(tmp_path, control):
    gate = Gate()
    async with FakeUpstream(gate) as model, contextlib.AsyncExitStack() as stack:
        update = Update(1, (endpoint("demo", variant("v", model.port)),))
        rig, _ = await stack.enter_async_context(introduced(tmp_path, control, update))
        await control.report()
        async with rig.client() as client:
            await client.send(invocation("demo"))
            await until(lambda: model.requests)
            await control.answer(Update(2, (endpoint("demo", variant("v"), version=2),)))
            assert (await control.report()).busy == (f"v-{model.port}",)
            gate.open()
            await client.read()
            # Without an answer to the report before.
            assert (await control.report()).busy == ()
            await control.answer(Update(2))
            await control.answer(Update(2))
            assert (await control.report()).version == 2


async def test_a_router_comes_back_to_control_and_serves_meanwhile(tmp_path, control):
    async with FakeUpstream() as model, contextlib.AsyncExitStack() as stack:
        update = Update(3, (endpoint("demo", variant("v", model.port)),))
        rig, _ = await stack.enter_async_context(introduced(tmp_path, control, update))
        await control.report()
        await control.stop()
        assert (await rig.invoke("demo")).status == 200
        await control.start()
        assert (await control.report()).version == 3


async def test_nonsense_from_control_ends_the_conversation_only(tmp_path, control):
    async with introduced(tmp_path, control, Update(1)):
        await control.report()
        await control.say(b"\xff\xff\xff\xff")
        assert isinstance(await control.report(), Report)


async def test_a_router_asks_control_before_it_serves(tmp_path, control):
    async with FakeUpstream() as stopped, FakeUpstream() as model:
        save(
            tmp_path / "snapshot",
            Update(1, (endpoint("demo", variant("v", stopped.port)),)),
            Seal(bytes(32)),
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            router = Router(
                RouterSettings(drain_idle_s=0.0),
                incarnation=Incarnation("incarnation", 0, 1, 0.0, "boot"),
                spool=FakeSpool(),
                control_address=("127.0.0.1", NOBODY),
                feed_path=tmp_path / "feed.sock",
                snapshot_path=tmp_path / "snapshot",
                seal=Seal(bytes(32)),
                account_id="123456789012",
                region="eu-central-1",
            )
            async with RawClient(listener.getsockname()[1]) as client:
                # It waits on the socket.
                await client.send(invocation("demo"))
                starting = asyncio.create_task(router.start(listener))
                assert (await control.report()).version == 1
                changed = endpoint("demo", variant("v", model.port), version=2)
                await control.answer(Update(2, (changed,)))
                assert (await client.read()).status == 200
            await starting
            await router.drain()
    assert (len(stopped.requests), len(model.requests)) == (0, 1)


@pytest.mark.slow
async def test_a_router_serves_when_control_says_nothing(tmp_path, control):
    async with running_router(tmp_path) as rig:
        assert (await rig.invoke("none")).status == 400
