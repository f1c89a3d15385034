"""Instances that do not answer as HTTP servers do go out of use, and come back."""

import asyncio

import pytest

from gnomon.model import metric
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import NOBODY, endpoint, running_router, until, variant


@pytest.fixture
async def good():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def bad():
    async with FakeUpstream() as server:
        yield server


def invocations(server):
    return [request for request in server.requests if request.path == "/invocations"]


def pings(server):
    return [request for request in server.requests if request.path == "/ping"]


@pytest.mark.parametrize("behaviour", [fake_upstream.reset, fake_upstream.raw(b"garbage\r\n\r\n")])
async def test_a_broken_answer_ejects_at_once(tmp_path, good, bad, behaviour):
    bad.behaviour = behaviour
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", good.port, bad.port)))
        answers = [await rig.invoke("demo") for _ in range(20)]
        rig.flush()
    assert len(invocations(bad)) == 1
    assert [answer.status for answer in answers].count(424) == 1
    assert rig.spool.counts("v-v", instance_id=f"v-{bad.port}")[metric.EJECTIONS] == 1


async def test_no_http_status_ejects(tmp_path, good, bad):
    bad.behaviour = fake_upstream.answer(500, b"bad input")
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", good.port, bad.port)))
        for _ in range(20):
            await rig.invoke("demo")
        rig.flush()
    assert len(invocations(bad)) > 4
    assert metric.EJECTIONS not in rig.spool.counts("v-v")


async def test_the_second_time_limit_in_a_row_ejects(tmp_path, good, bad):
    bad.behaviour = fake_upstream.hang
    settings = RouterSettings(model_time_limit_s=0.1, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("v", good.port, bad.port)))
        while not invocations(bad):
            await rig.invoke("demo")
        rig.flush()
        assert metric.EJECTIONS not in rig.spool.counts("v-v")
        await asyncio.gather(*(rig.invoke("demo") for _ in range(10)))
        rig.flush()
        assert rig.spool.counts("v-v")[metric.EJECTIONS] == 1


async def test_a_variants_last_instance_is_not_ejected_for_broken_answers(tmp_path, bad):
    bad.behaviour = fake_upstream.reset
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", bad.port)))
        assert [(await rig.invoke("demo")).status for _ in range(3)] == [424] * 3
    assert len(invocations(bad)) == 3


async def test_a_variants_last_instance_is_ejected_when_it_refuses(tmp_path, bad):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", NOBODY)))
        for _ in range(3):
            await rig.invoke("demo")
        rig.flush()
    assert rig.spool.counts("v-v")[metric.EJECTIONS] == 1


async def test_a_good_ping_ends_an_ejection(tmp_path, good, bad):
    bad.behaviour = fake_upstream.reset
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", good.port, bad.port)))
        while not invocations(bad):
            await rig.invoke("demo")
        bad.behaviour = fake_upstream.answer(503)
        rig.flush()
        await until(lambda: pings(bad))
        # A ping that is not answered 200 changes nothing.
        bad.requests.clear()
        for _ in range(10):
            await rig.invoke("demo")
        assert not invocations(bad)
        bad.behaviour = fake_upstream.echo
        for _ in range(1000):
            rig.flush()
            await rig.invoke("demo")
            if invocations(bad):
                break
        assert invocations(bad)
        # One for each tick while it was out of use, and none since.
        rig.flush()
        counted = rig.spool.counts("v-v", instance_id=f"v-{bad.port}")
        assert counted[metric.EJECTED_S] > 1
        for _ in range(3):
            rig.flush()
        assert rig.spool.counts("v-v", instance_id=f"v-{bad.port}") == counted


async def test_an_instance_that_comes_back_is_used_again(tmp_path, good):
    server = FakeUpstream()
    await server.start()
    await server.stop()
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("v", server.port)))
        assert (await rig.invoke("demo")).status == 503
        async with server:
            statuses = []
            for _ in range(1000):
                rig.flush()
                statuses.append((await rig.invoke("demo")).status)
                if statuses[-1] == 200:
                    break
            assert statuses[-1] == 200
