"""The router's end of the feed, against a scripted control on a real socket."""

import pytest

from gnomon.model.snapshot import Report, Update
from gnomon.testing.fake_control_feed import FakeControlFeed
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def control(tmp_path):
    async with FakeControlFeed(tmp_path / "feed.sock") as feed:
        yield feed


async def test_a_router_reports_what_it_has_and_takes_what_is_new(tmp_path, control):
    async with FakeUpstream() as model, running_router(tmp_path) as rig:
        report = await control.report()
        assert (report.incarnation.id, report.version, report.busy) == ("incarnation", 0, ())
        await control.answer(Update(4, (endpoint("demo", variant("v", model.port)),)))
        assert (await control.report()).version == 4
        assert (await rig.invoke("demo", b"x")).body == b"x"
        await control.answer(Update(4))
        assert (await control.report()).version == 4


async def test_busy_instances_are_reported_until_they_are_free(tmp_path, control):
    gate = Gate()
    async with FakeUpstream(gate) as model, running_router(tmp_path) as rig:
        await control.report()
        await control.answer(Update(1, (endpoint("demo", variant("v", model.port)),)))
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
    async with FakeUpstream() as model, running_router(tmp_path) as rig:
        await control.report()
        await control.answer(Update(3, (endpoint("demo", variant("v", model.port)),)))
        await control.report()
        await control.stop()
        assert (await rig.invoke("demo")).status == 200
        await control.start()
        assert (await control.report()).version == 3


async def test_nonsense_from_control_ends_the_conversation_only(tmp_path, control):
    async with running_router(tmp_path):
        await control.report()
        await control.say(b"\xff\xff\xff\xff")
        assert isinstance(await control.report(), Report)
