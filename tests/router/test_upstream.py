"""Answers as servers frame them, and which connections are used again."""

import asyncio
import contextlib
import time
from random import Random

import pytest

from gnomon.model.snapshot import Instance, Variant
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant

CHUNKED = b"Transfer-Encoding: chunked\r\n"
GZIP = b"Transfer-Encoding: gzip\r\n"


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
        (
            b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            False,
            b"abc",
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", True, b"abc"),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
            False,
            b"abc",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, b""),
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


@pytest.mark.parametrize(
    "data",
    [
        # Where the body ends is said twice, and not the same.
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        # Of codings, chunked alone can be undone.
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n%b%b\r\n0\r\n\r\n" % (GZIP, CHUNKED),
        b"HTTP/1.1 200 OK\r\n%b%b\r\n0\r\n\r\n" % (CHUNKED, CHUNKED),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        # Lines that other readers cut elsewhere.
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    ],
)
async def test_an_answer_that_can_be_read_in_two_ways_is_none(rig, model, data):
    model.behaviour = fake_upstream.raw(data, ends=True)
    answer = await rig.invoke("demo")
    assert answer.status == 424
    assert b'"OriginalStatusCode":0' in answer.body
    model.behaviour = fake_upstream.echo
    assert (await rig.invoke("demo", b"next")).body == b"next"


async def test_a_server_that_closes_after_each_answer_loses_no_request(rig, model):
    model.behaviour = fake_upstream.raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", ends=True
    )
    async with rig.client() as client:
        answers = [await client.ask(invocation("demo")) for _ in range(200)]
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"abc")}


@pytest.mark.slow
async def test_a_server_that_closes_idle_connections_early_loses_no_request(rig):
    # Half of it is what a busy machine may hold the server up for.
    keeps_s = 0.5
    connected = 0

    async def serve(reader, writer):
        nonlocal connected
        connected += 1
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(keeps_s):
                    await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        # As much shorter as the default is than gunicorn's 2 s.
        names = [f"early-{number}" for number in range(8)]
        instances = [Instance(name, "127.0.0.1", port, keep_alive_s=keeps_s / 2) for name in names]
        await rig.apply(
            *(
                endpoint(one.id, Variant(f"v-{one.id}", "v", 1.0, (one,)), version=2)
                for one in instances
            )
        )
        random = Random(1)

        async def ask_now_and_then(name):
            async with rig.client() as client:
                for _ in range(10):
                    yield (await client.ask(invocation(name))).status
                    asked_s = time.monotonic()
                    wait_s = random.uniform(0, 1.5 * keeps_s)
                    await until(lambda: time.monotonic() - asked_s > wait_s)  # noqa: B023

        async def statuses(name):
            return [status async for status in ask_now_and_then(name)]

        found = await asyncio.gather(*(statuses(name) for name in names))
        assert {status for several in found for status in several} == {200}
        # Of 72 waits some two thirds are longer than a connection is used.
        assert connected > 24


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


@pytest.fixture
async def hasty():
    """The port of a server that answers a request's head and never reads its body."""
    connected = 0
    is_over = asyncio.Event()

    async def answer(reader, writer):
        nonlocal connected
        connected += 1
        await reader.readuntil(b"\r\n\r\n")
        body = b"%d" % connected
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        await is_over.wait()
        writer.close()

    # A small limit, so that its reader holds the body up.
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1000)
    yield server.sockets[0].getsockname()[1]
    is_over.set()
    server.close()


async def test_a_connection_answered_before_the_request_was_sent_is_not_used_again(rig, hasty):
    await rig.apply(endpoint("demo", variant("AllTraffic", hasty), version=2))
    assert (await rig.invoke("demo", b"x" * 20_000_000)).body == b"1"
    async with asyncio.timeout(30):
        assert (await rig.invoke("demo", b"{}")).body == b"2"


async def test_a_request_that_was_answered_early_is_not_kept(rig, hasty):
    await rig.apply(endpoint("demo", variant("AllTraffic", hasty), version=2))
    (instance,) = rig.router._routes.by_id["e-demo"].instances.values()
    await rig.invoke("demo", b"x" * 20_000_000)
    await until(lambda: not instance.pool._connections)


LONG = [
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 200_000,
]


@pytest.mark.parametrize("data", LONG)
async def test_a_head_without_end_is_no_answer(rig, model, data):
    model.behaviour = fake_upstream.raw(data)
    answer = await rig.invoke("demo")
    assert answer.status == 424
    assert b"not HTTP" in answer.body


@pytest.mark.parametrize("data", LONG)
async def test_a_shadows_head_without_end_is_cut(tmp_path, model, data):
    async with FakeUpstream(fake_upstream.raw(data)) as shadow, running_router(tmp_path) as rig:
        await rig.apply(
            endpoint("demo", variant("v", model.port), shadow=variant("s", shadow.port))
        )
        assert (await rig.invoke("demo")).status == 200
        await until(lambda: rig.router.copies_in_flight == 0)
        rig.flush()
        assert rig.spool.counts("v-s")["dropped.too_large"] == 1


async def test_an_answer_in_many_small_chunks_is_read(rig, model):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    model.behaviour = fake_upstream.raw(head + b"1;x=y\r\na\r\n" * 90_000 + b"0\r\n\r\n")
    assert (await rig.invoke("demo")).body == b"a" * 90_000
