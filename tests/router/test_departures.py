"""Clients that go away, at any moment: what they held is free, what they asked is counted."""

import asyncio
import socket
import struct

import pytest

from gnomon.model import metric
from gnomon.spool.frames import Pair
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation, streaming
from gnomon.testing.router_rig import endpoint, running_router, until, variant

WHOLE = invocation("demo", b"x" * 1000)
STREAMED = streaming("demo", b"x" * 1000)


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model, shadow):
    async with running_router(tmp_path) as running:
        await running.apply(
            endpoint("demo", variant("prod", model.port), shadow=variant("shadow", shadow.port))
        )
        yield running


async def reset(client):
    """End the connection as a process that dies does."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


async def is_free(rig):
    """Wait until the router holds nothing of anybody's."""
    table = rig.router._routes.by_id["e-demo"]
    mirror = rig.router._plane.mirror
    await until(
        lambda: (
            not rig.router._clients.open
            and not table.entry.open
            and not mirror.in_flight
            and not mirror.held_bytes
            and not any(instance.outstanding for instance in table.instances.values())
        )
    )
    rig.flush()


@pytest.mark.parametrize("cut", [0, 1, 30, 90, 200, len(WHOLE) - 1])
async def test_a_reset_within_a_request_leaves_nothing(rig, model, cut):
    async with rig.client() as client:
        await client.send(WHOLE[:cut])
        await until(lambda: rig.router._clients.open)
        await reset(client)
    await is_free(rig)
    assert model.requests == []
    assert rig.spool.counts("v-prod") == {}


@pytest.mark.parametrize("data", [WHOLE, STREAMED])
async def test_a_reset_before_the_answer_is_counted_and_paired(rig, model, data):
    gate = model.behaviour = Gate()
    async with rig.client() as client:
        await client.send(data)
        await until(lambda: model.requests)
        await reset(client)
    await until(lambda: not rig.router._clients.open)
    gate.open()
    await until(lambda: rig.spool.of(Pair))
    await is_free(rig)
    (pair,) = rig.spool.of(Pair)
    assert (pair.production.status, pair.production.body_bytes) == (200, 1000)
    assert rig.spool.counts("v-prod")[metric.INVOCATIONS] == 1
    assert rig.spool.counts("v-shadow")[metric.MIRRORED] == 1


@pytest.mark.parametrize("ask", [invocation, streaming])
async def test_a_reset_within_the_answer_is_counted_and_paired(rig, model, ask):
    # More than the sockets' buffers take.
    model.behaviour = fake_upstream.answer(200, b"y" * 20_000_000)
    async with rig.client() as client:
        await client.send(ask("demo"))
        await client.reader.readexactly(100)
        await reset(client)
    await until(lambda: rig.spool.of(Pair))
    await is_free(rig)
    (pair,) = rig.spool.of(Pair)
    assert (pair.production.status, pair.production.body_bytes) == (200, 20_000_000)


async def test_of_pipelined_requests_those_that_were_begun_are_counted(rig, model):
    gate = model.behaviour = Gate()
    async with rig.client() as client:
        await client.send(WHOLE * 5)
        await until(lambda: model.requests)
        await reset(client)
    # Nothing is read behind the pipelined ones, so that the router sees it when it answers.
    gate.open()
    await is_free(rig)
    assert rig.spool.counts("v-prod")[metric.INVOCATIONS] == len(model.requests) < 5
    assert len(rig.spool.of(Pair)) == len(model.requests)


async def test_clients_that_come_and_go_leave_nothing(rig, model):
    async def come_and_go(number):
        async with rig.client() as client:
            await client.send(WHOLE * (number % 3) + STREAMED[: number * 7])
            if number % 2 and number % 3:
                await client.reader.read(number)
            await reset(client)

    await asyncio.gather(*(come_and_go(number) for number in range(60)))
    await is_free(rig)
    counts = rig.spool.counts("v-prod")
    assert counts[metric.INVOCATIONS] == len(model.requests)
    shadow = rig.spool.counts("v-shadow")
    assert shadow[metric.SAMPLED] == shadow[metric.CANDIDATES] == len(model.requests)
    assert len(rig.spool.of(Pair)) == shadow[metric.MIRRORED]
