"""What the fake host adds to the contract of hosts (tests/hosting/test_host_contract.py)."""

import asyncio
from pathlib import Path

import pytest

from gnomon.hosting.health import ping
from gnomon.hosting.host import Exited, InstanceNotStarted, InstanceSpec
from gnomon.hosting.images import ModelServer
from gnomon.testing.fake_host import FakeHost, FakeMachine
from gnomon.testing.raw_http import RawClient, post

SPEC = InstanceSpec("a", "endpoint", "variant", ModelServer(), Path("/models/x/model"))


async def test_a_refusal_is_for_one_start():
    machine = FakeMachine(refusals=["no memory"])
    host = FakeHost(machine)

    with pytest.raises(InstanceNotStarted, match="no memory"):
        await host.start(SPEC)
    await host.start(SPEC)

    assert machine.running() == {"a"}
    assert machine.starts == [SPEC]


async def test_a_stop_can_be_held_up():
    machine = FakeMachine()
    host = FakeHost(machine)
    await host.start(SPEC)
    machine.may_stop.clear()

    stop = asyncio.create_task(host.stop("a"))
    await asyncio.sleep(0)
    assert machine.running() == {"a"}
    machine.may_stop.set()
    await stop

    assert machine.running() == set()


async def test_an_instance_that_listens_answers_pings():
    async with FakeMachine(listens=True).closing() as machine:
        host = FakeHost(machine)
        started = await host.start(SPEC)
        assert await ping(started.host, started.port, started.ping_path, 5.0)

        machine.instances["a"].ping_status = 503
        assert not await ping(started.host, started.port, started.ping_path, 5.0)

        machine.end("a", 1)
        assert not await ping(started.host, started.port, started.ping_path, 5.0)
        assert await host.observe("a") == Exited(1)


async def test_an_instance_that_listens_sends_back_what_it_is_sent_until_it_ends():
    async with FakeMachine(listens=True).closing() as machine:
        started = await FakeHost(machine).start(SPEC)
        async with RawClient(started.port) as client:
            for body in (b"1", b"2"):
                answer = await client.ask(post("/invocations", body))
                assert (answer.status, answer.body) == (200, body)
            machine.end("a", 0)
            assert await client.is_closed()
        assert machine.answers == [("a", b"1"), ("a", b"2")]
