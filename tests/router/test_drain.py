"""A router's end: everything open is answered, nothing is left to write."""

import asyncio
import contextlib
import socket
from random import Random

import pytest

from gnomon.model.snapshot import Incarnation, Update
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.settings import RouterSettings
from gnomon.spool.frames import Metrics, Pair
from gnomon.testing.fake_spool import FakeSpool
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import NOBODY, endpoint, until, variant


class Served:
    """A router that the test drains itself."""

    def __init__(self, directory, listener, **settings):
        self.spool = FakeSpool()
        self.port = listener.getsockname()[1]
        self.router = Router(
            RouterSettings(**settings),
            incarnation=Incarnation("incarnation", 0, 1, 0.0, "boot"),
            spool=self.spool,
            control_address=("127.0.0.1", NOBODY),
            feed_path=directory / "feed.sock",
            snapshot_path=directory / "snapshot",
            seal=Seal(bytes(32)),
            account_id="123456789012",
            region="eu-central-1",
            random=Random(0),
        )


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


async def test_open_requests_are_answered_and_their_connections_closed(tmp_path, listener):
    gate = Gate()
    async with FakeUpstream(gate) as model:
        served = Served(tmp_path, listener, drain_idle_s=5.0)
        await served.router.start(listener)
        await served.router.apply(Update(1, (endpoint("demo", variant("v", model.port)),)))
        async with RawClient(served.port) as client, RawClient(served.port) as idle:
            await client.send(invocation("demo", b"x"))
            await idle.ask(invocation("none"))
            await until(lambda: model.requests)
            drained = asyncio.create_task(served.router.drain())
            await asyncio.sleep(0)
            gate.open()
            answer = await client.read()
            assert (answer.body, answer.headers["connection"]) == (b"x", "close")
            # What is still sent on an open connection is answered too.
            late = await idle.ask(invocation("demo", b"late"))
            assert (late.body, late.headers["connection"]) == (b"late", "close")
            assert await client.is_closed()
            assert await idle.is_closed()
        await drained
    assert served.spool.counts("v-v")["invocations"] == 2


async def test_pipelined_requests_are_all_answered(tmp_path, listener):
    gate = Gate()
    async with FakeUpstream(gate) as model:
        served = Served(tmp_path, listener, drain_idle_s=0.0)
        await served.router.start(listener)
        await served.router.apply(Update(1, (endpoint("demo", variant("v", model.port)),)))
        async with RawClient(served.port) as client:
            await client.send(invocation("demo", b"a") + invocation("demo", b"b"))
            await until(lambda: model.requests)
            drained = asyncio.create_task(served.router.drain())
            await asyncio.sleep(0)
            gate.open()
            assert "connection" not in (await client.read()).headers
            assert (await client.read()).headers["connection"] == "close"
        await drained


async def test_idle_connections_are_closed_in_the_end(tmp_path, listener):
    served = Served(tmp_path, listener, drain_idle_s=0.05)
    await served.router.start(listener)
    async with RawClient(served.port) as client:
        await client.ask(invocation("none"))
        await served.router.drain()
        assert await client.is_closed()


async def test_a_draining_router_leaves_connections_to_the_others(tmp_path, listener):
    served = Served(tmp_path, listener, drain_idle_s=0.0)
    with listener.dup() as shared:
        await served.router.start(shared)
        await served.router.drain()
    async with RawClient(served.port) as client:
        await client.send(invocation("none"))
        # The socket is another router's too, which now accepts what waits.
        other = Served(tmp_path, listener, drain_idle_s=0.0)
        await other.router.start(listener)
        assert (await client.read()).status == 400
        await other.router.drain()


async def test_the_last_router_accepts_what_waits(tmp_path, listener):
    served = Served(tmp_path, listener, drain_idle_s=1.0)
    await served.router.start(listener)
    with contextlib.ExitStack() as stack:
        # Nothing lets the loop accept these before it drains.
        address = ("127.0.0.1", served.port)
        waiting = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
        for client in waiting:
            client.sendall(invocation("none"))
        await served.router.drain(last=True)
        for client in waiting:
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("rounds", range(4))
async def test_what_was_accepted_in_the_last_moment_is_answered(tmp_path, listener, rounds):
    async with FakeUpstream() as model:
        served = Served(tmp_path, listener, drain_idle_s=1.0)
        await served.router.start(listener)
        await served.router.apply(Update(1, (endpoint("demo", variant("v", model.port)),)))
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.sendall(invocation("demo", b"x"))
            # The loop comes to accept it, to make its protocol, to read: each a round later.
            for _ in range(rounds):
                await asyncio.sleep(0)
            await served.router.drain(last=True)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


async def test_copies_that_end_in_time_are_paired(tmp_path, listener):
    gate = Gate()
    async with FakeUpstream() as model, FakeUpstream(gate) as shadow:
        served = Served(tmp_path, listener, drain_idle_s=5.0)
        await served.router.start(listener)
        tested = endpoint("demo", variant("p", model.port), shadow=variant("s", shadow.port))
        await served.router.apply(Update(1, (tested,)))
        async with RawClient(served.port) as client:
            answer = await client.ask(invocation("demo", b"x", connection="close"))
            assert answer.status == 200
        drained = asyncio.create_task(served.router.drain())
        await until(lambda: shadow.requests)
        gate.open()
        await drained
    assert len(served.spool.of(Pair)) == 1
    assert isinstance(served.spool.frames[-1], Metrics)
