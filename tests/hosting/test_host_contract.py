"""What every host does, whatever it runs instances on."""

import asyncio
from pathlib import Path

import pytest

from gnomon.hosting.external import ExternalHost
from gnomon.hosting.host import Exited, Host, InstanceSpec, Running
from gnomon.hosting.images import Command
from gnomon.hosting.servers import external_of
from gnomon.settings import ExternalSettings
from gnomon.testing.fake_host import FakeHost, FakeMachine

# Runs until a file says with what status to end.
# Its memory in bytes: more than one page, less than what any model has.
LITTLE, MUCH = 4096, 1024**3
WAITING = "while [ ! -e end ]; do sleep 0.01; done; exit $(cat end)"


class ProcessRig:
    """Real processes on one data directory."""

    runtime = Command(("sh", "-c", WAITING))
    stopped = Exited(-15)
    killed = Exited(-9)

    def __init__(self, make_host, data_dir: Path) -> None:
        self._make_host = make_host
        self._data_dir = data_dir

    def host(self) -> Host:
        return self._make_host()

    def end(self, instance_id: str, status: int) -> None:
        fresh = self._data_dir / f"status-{instance_id}"
        fresh.write_text(str(status))
        fresh.replace(self._data_dir / "instances" / instance_id / "work" / "end")


class ExternalRig:
    """Servers that run already; nobody asks them here. They do not end, and have no status."""

    runtime = external_of(
        "*", ExternalSettings(urls=("http://127.0.0.1:9001", "http://127.0.0.1:9002"))
    )
    stopped = killed = Exited(None)

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def host(self) -> Host:
        return ExternalHost(self._data_dir)


class FakeRig:
    runtime = ProcessRig.runtime
    stopped = ProcessRig.stopped
    killed = ProcessRig.killed

    def __init__(self) -> None:
        self._machine = FakeMachine()

    def host(self) -> Host:
        return FakeHost(self._machine)

    def end(self, instance_id: str, status: int) -> None:
        self._machine.end(instance_id, status)


@pytest.fixture(params=["process", "external", "fake"])
def rig(request):
    if request.param == "fake":
        return FakeRig()
    data_dir = request.getfixturevalue("data_dir")
    if request.param == "external":
        return ExternalRig(data_dir)
    return ProcessRig(request.getfixturevalue("make_host"), data_dir)


whose_instances_end = pytest.mark.parametrize("rig", ["process", "fake"], indirect=True)


def spec(rig, instance_id: str, tmp_path: Path) -> InstanceSpec:
    return InstanceSpec(
        instance_id=instance_id,
        endpoint_name="endpoint",
        variant_name="variant",
        runtime=rig.runtime,
        model_dir=tmp_path,
        count=2,
    )


async def test_a_started_instance_runs(rig, tmp_path):
    host = rig.host()

    started = await host.start(spec(rig, "a", tmp_path))

    assert started.host == "127.0.0.1"
    assert await host.observe("a") == Running()


async def test_starting_twice_starts_once(rig, tmp_path):
    host = rig.host()

    first = await host.start(spec(rig, "a", tmp_path))
    second = await host.start(spec(rig, "a", tmp_path))

    assert first == second


async def test_instances_have_addresses_of_their_own(rig, tmp_path):
    host = rig.host()

    started = [await host.start(spec(rig, name, tmp_path)) for name in "ab"]

    assert started[0].port != started[1].port


@whose_instances_end
async def test_an_exit_status_is_seen(rig, tmp_path, eventually):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    rig.end("a", 7)

    assert await eventually(lambda: exited(host, "a")) == Exited(7)
    assert await host.observe("a") == Exited(7)


async def test_an_instance_that_nobody_started_has_exited(rig):
    assert await rig.host().observe("a") == Exited(None)


async def test_an_exited_instance_can_be_started_again(rig, tmp_path, eventually):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.stop("a")

    await host.start(spec(rig, "a", tmp_path))

    assert await host.observe("a") == Running()


async def test_stop_returns_when_the_instance_has_ended(rig, tmp_path):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    await host.stop("a")

    assert await host.observe("a") == rig.stopped


async def test_stop_may_be_repeated_and_called_for_nothing(rig, tmp_path):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    await asyncio.gather(host.stop("a"), host.stop("a"))
    await host.stop("a")
    await host.stop("never started")

    assert isinstance(await host.observe("a"), Exited)


async def test_an_instance_that_is_stopped_at_once_is_not_asked(rig, tmp_path):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    await host.stop("a", at_once=True)
    await host.stop("never started", at_once=True)

    assert await host.observe("a") == rig.killed


@whose_instances_end
async def test_an_instance_over_its_memory_is_told_with_what_it_uses(rig, tmp_path, eventually):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.start(spec(rig, "b", tmp_path))

    # One that is only just there may have next to nothing yet.
    limits = {"a": LITTLE, "b": MUCH, "never started": LITTLE}
    over = await eventually(lambda: host.over_memory(limits))

    assert over.keys() == {"a"}
    assert LITTLE < over["a"] < MUCH


@whose_instances_end
async def test_an_adopted_instance_is_watched_and_one_that_has_ended_is_not(
    rig, tmp_path, eventually
):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.close()
    successor = rig.host()
    await successor.adopt("a")

    assert set(await eventually(lambda: successor.over_memory({"a": LITTLE}))) == {"a"}
    await successor.stop("a")
    assert await successor.over_memory({"a": LITTLE}) == {}


async def test_the_memory_of_servers_that_run_already_is_their_own(data_dir, tmp_path):
    rig = ExternalRig(data_dir)
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    assert await host.over_memory({"a": LITTLE}) == {}


@whose_instances_end
async def test_what_instances_use_is_told_of_those_that_run_adopted_ones_too(
    rig, tmp_path, eventually
):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.start(spec(rig, "b", tmp_path))
    await host.close()
    successor = rig.host()
    await successor.adopt("a")

    async def both():
        found = await successor.usage(["a", "b", "never started"])
        return found if found.keys() == {"a", "b"} else None

    before = await eventually(both)
    now = (await successor.usage(["a"]))["a"]

    assert now.at_s >= before["a"].at_s
    assert now.cpu_s >= before["a"].cpu_s >= 0
    assert 0 < now.memory_bytes < MUCH
    assert 0 < now.disk_percent < 100
    await successor.stop("a")
    assert await successor.usage(["a"]) == {}


async def test_what_servers_that_run_already_use_is_not_known(data_dir, tmp_path):
    rig = ExternalRig(data_dir)
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))

    assert await host.usage(["a"]) == {}


async def test_an_instance_outlives_its_host(rig, tmp_path):
    host = rig.host()
    started = await host.start(spec(rig, "a", tmp_path))
    await host.close()

    successor = rig.host()

    assert await successor.adopt("a")
    assert await successor.observe("a") == Running()
    assert await successor.start(spec(rig, "a", tmp_path)) == started


async def test_an_adopted_instance_can_be_stopped(rig, tmp_path):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.close()
    successor = rig.host()
    await successor.adopt("a")

    await successor.stop("a")

    assert await successor.observe("a") == Exited(None)


@whose_instances_end
async def test_the_exit_status_of_an_adopted_instance_is_unknown(rig, tmp_path, eventually):
    host = rig.host()
    await host.start(spec(rig, "a", tmp_path))
    await host.close()
    successor = rig.host()
    await successor.adopt("a")

    rig.end("a", 7)

    assert await eventually(lambda: exited(successor, "a")) == Exited(None)


async def test_nothing_to_adopt(rig, tmp_path):
    host = rig.host()

    assert not await host.adopt("a")
    assert await host.observe("a") == Exited(None)


async def test_an_instance_may_be_started_after_a_vain_adoption(rig, tmp_path):
    host = rig.host()
    await host.adopt("a")

    await host.start(spec(rig, "a", tmp_path))

    assert await host.observe("a") == Running()


async def exited(host: Host, instance_id: str) -> Exited | None:
    seen = await host.observe(instance_id)
    return seen if isinstance(seen, Exited) else None
