"""Answers as servers frame them, and which connections are used again."""

import asyncio
import time

import pytest

from gnomon.model.snapshot import Instance, Variant
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model):
    async with running_router(tmp_path) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


@pytest.mark.parametrize(
    ("data", "ends", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", False, b"abc"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            False,
            b"abc",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
            False,
            b"abc",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True, b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", True, b"abc"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", True, b"abc"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            False,
            b"abc",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False, b""),
    ],
)
async def test_an_answer_is_read_however_it_is_framed(rig, model, data, ends, body):
    model.behaviour = fake_upstream.raw(data, ends=ends)
    answer = await rig.invoke("demo")
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("close", [b"Connection: close\r\n", b""])
async def test_bytes_behind_an_answer_are_no_answer(rig, model, close):
    first = b"HTTP/1.1 200 OK\r\n%bContent-Length: 4\r\n\r\nreal" % close
    model.behaviour = fake_upstream.raw(first + b"HTTP/1.1 418 No\r\nContent-Length: 4\r\n\r\nfake")
    assert (await rig.invoke("demo")).body == b"real"
    model.behaviour = fake_upstream.echo
    assert (await rig.invoke("demo", b"next")).body == b"next"
    assert model.connections == 2


async def test_a_connection_that_the_server_closed_is_not_used(rig, model):
    await rig.invoke("demo")
    await model.stop()
    await model.start()
    assert (await rig.invoke("demo", b"again")).body == b"again"


async def test_a_connection_is_used_for_less_time_than_the_server_keeps_it(rig, model):
    instance = Instance("short", "127.0.0.1", model.port, keep_alive_s=0.01)
    await rig.apply(endpoint("demo", Variant("v", "v", 1.0, (instance,)), version=2))
    await rig.invoke("demo")
    answered_s = time.monotonic()
    await until(lambda: time.monotonic() - answered_s > 0.02)
    await rig.invoke("demo")
    assert model.connections == 2


async def test_requests_beyond_the_connections_wait_their_turn(tmp_path, model):
    settings = RouterSettings(max_connections_per_instance=2, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        answers = await asyncio.gather(*(rig.invoke("demo", b"%d" % n) for n in range(20)))
    assert [answer.body for answer in answers] == [b"%d" % n for n in range(20)]
    assert model.connections == 2
