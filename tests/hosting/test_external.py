"""Claims on servers that run already. What every host does is in the contract suite."""

import asyncio
import dataclasses

import pytest

from gnomon.hosting.choice import HostByRuntime
from gnomon.hosting.external import ExternalHost
from gnomon.hosting.host import Exited, InstanceNotStarted, InstanceSpec, Running
from gnomon.hosting.images import Command
from gnomon.hosting.servers import external_of
from gnomon.settings import ExternalSettings
from gnomon.testing.fake_host import FakeHost, FakeMachine


def spec_of(tmp_path, instance_id="a", servers=2, **members) -> InstanceSpec:
    settings = ExternalSettings(
        urls=tuple(f"http://10.0.0.{number + 1}:8000/base" for number in range(servers)),
        health="/health",
        invocations="/infer",
        headers={"X-Key": "secret"},
        keep_alive_s=5.0,
    )
    spec = InstanceSpec(
        instance_id=instance_id,
        endpoint_name="endpoint",
        variant_name="variant",
        runtime=external_of("triton:*", settings),
        model_dir=tmp_path,
        count=2,
        group="group",
    )
    return dataclasses.replace(spec, **members)


async def test_an_instance_answers_where_its_server_does(tmp_path):
    started = await ExternalHost(tmp_path).start(spec_of(tmp_path))

    assert (started.host, started.port, started.keep_alive_s) == ("10.0.0.1", 8000, 5.0)
    assert (started.ping_path, started.invocation_path) == ("/base/health", "/base/infer")
    assert started.headers == (("X-Key", "secret"),)


async def test_more_instances_than_servers_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(InstanceNotStarted) as caught:
        await ExternalHost(tmp_path).start(spec_of(tmp_path, count=3))

    assert '3 instances are wanted, and hosting.external."triton:*" has 2 in urls' in str(
        caught.value
    )


async def test_another_group_has_all_servers_too(tmp_path):
    host = ExternalHost(tmp_path)

    first = await host.start(spec_of(tmp_path, "a"))
    second = await host.start(spec_of(tmp_path, "b", group="shadow"))

    assert first == second


async def test_a_start_waits_for_a_server_that_is_on_its_way_out_of_use(tmp_path):
    host = ExternalHost(tmp_path)
    first = await host.start(spec_of(tmp_path, "a", servers=1, count=1))
    starting = asyncio.create_task(host.start(spec_of(tmp_path, "b", servers=1, count=1)))
    await asyncio.sleep(0)
    assert not starting.done()

    await host.stop("a")

    assert await starting == first
    assert await host.observe("a") == Exited(None)


async def test_a_start_that_is_given_up_claims_nothing(tmp_path):
    host = ExternalHost(tmp_path)
    await host.start(spec_of(tmp_path, "a", servers=1, count=1))
    starting = asyncio.create_task(host.start(spec_of(tmp_path, "b", servers=1, count=1)))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])

    await host.stop("a")

    assert await host.observe("b") == Exited(None)
    assert not await ExternalHost(tmp_path).adopt("b")


async def test_a_server_that_was_let_go_is_taken_last(tmp_path):
    host = ExternalHost(tmp_path)
    await host.start(spec_of(tmp_path, "a", count=1))
    await host.stop("a")

    started = await host.start(spec_of(tmp_path, "b", count=1))

    assert started.host == "10.0.0.2"


async def test_adopted_claims_hold(tmp_path):
    await ExternalHost(tmp_path).start(spec_of(tmp_path, "a"))
    successor = ExternalHost(tmp_path)
    await successor.adopt("a")

    started = await successor.start(spec_of(tmp_path, "b"))

    assert started.host == "10.0.0.2"


async def test_a_released_claim_is_not_adopted(tmp_path):
    host = ExternalHost(tmp_path)
    await host.start(spec_of(tmp_path))
    await host.stop("a")

    assert not await ExternalHost(tmp_path).adopt("a")


async def test_a_claim_is_nobody_elses_to_read(tmp_path):
    await ExternalHost(tmp_path).start(spec_of(tmp_path))

    (file,) = (tmp_path / "instances" / "a").iterdir()
    assert file.stat().st_mode & 0o077 == 0


async def test_a_claim_that_cannot_be_written_is_no_start(tmp_path):
    (tmp_path / "instances").write_text("in the way")

    with pytest.raises(InstanceNotStarted, match="Not a directory"):
        await ExternalHost(tmp_path).start(spec_of(tmp_path))


async def test_each_instance_is_its_own_hosts_also_after_a_restart(tmp_path):
    machine = FakeMachine()
    host = HostByRuntime(FakeHost(machine), ExternalHost(tmp_path))
    await host.start(spec_of(tmp_path, "external"))
    await host.start(spec_of(tmp_path, "process", runtime=Command(("serve",))))
    assert machine.running() == {"process"}

    successor = HostByRuntime(FakeHost(machine), ExternalHost(tmp_path))
    adopted = [await successor.adopt(name) for name in ("external", "process", "nobody")]
    assert adopted == [True, True, False]
    assert await successor.observe("external") == Running()
    for name in ("external", "process"):
        await successor.stop(name)

    assert machine.running() == set()
    assert await successor.observe("external") == Exited(None)
    assert not await ExternalHost(tmp_path).adopt("external")
