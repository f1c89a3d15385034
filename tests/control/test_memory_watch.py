"""Instances that use more memory than they may: ended at once, and why is said."""

import asyncio
import errno
import os
from unittest import mock

import msgspec
import pytest
import structlog

from gnomon.control.memory_watch import LOOK_S, MemoryWatch, memory_limit, sentence
from gnomon.control.watch import Watch
from gnomon.errors import DatabaseFailed
from gnomon.settings import HostingSettings
from gnomon.store.database import Database
from gnomon.store.state.instances import events_of, get_instance, put_instance
from gnomon.testing.builders import a_variant, an_instance
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.fake_host import FakeHost
from gnomon.testing.requests import make_config, make_endpoint, make_model

MIB = 1024**2
GIB = 1024**3
# Of ml.m5.xlarge.
FULL = 16 * GIB


def test_the_limit_is_the_memory_of_the_instance_type_or_the_setting():
    by_type = HostingSettings()
    assert memory_limit("ml.m5.xlarge", by_type).limit_bytes == FULL
    assert memory_limit("ml.p4d.24xlarge", by_type).limit_bytes == 1152 * GIB
    assert memory_limit("ml.no.size", by_type) is None
    by_setting = HostingSettings(memory_limit_bytes=300 * MIB)
    for type_ in ("ml.m5.xlarge", "ml.no.size"):
        assert memory_limit(type_, by_setting).limit_bytes == 300 * MIB


def test_the_reason_says_which_how_much_and_what_to_do():
    record = an_instance(a_variant())
    limit = memory_limit("ml.m5.xlarge", HostingSettings())
    assert sentence(record, FULL + 1, limit) == (
        "The instance AllTraffic-1 of the variant AllTraffic used 16,385 MiB of memory, more than "
        "the 16,384 MiB of an ml.m5.xlarge, and was ended: choose a larger instance type, or set "
        "hosting.memory_limit_bytes."
    )
    limit = memory_limit("ml.m5.xlarge", HostingSettings(memory_limit_bytes=300 * MIB))
    assert sentence(record, 310 * MIB, limit) == (
        "The instance AllTraffic-1 of the variant AllTraffic used 310 MiB of memory, more than the "
        "300 MiB of hosting.memory_limit_bytes, and was ended: raise that setting, or have the "
        "model use less."
    )


async def ends_of_instances(control):
    async with control.transactions.database.reading() as connection:
        events = await events_of(connection)
    return [e for e in events if e.kind == "instance" and e.after in ("Failed", "Stopped")]


async def test_an_instance_over_its_memory_is_ended_at_once_and_another_takes_its_place(
    control, machine
):
    await make_endpoint(control, count=2)
    # What is asked to end takes its time; this one is not asked.
    machine.may_stop.clear()
    greedy, other = sorted(machine.running())
    machine.instances[other].used_bytes = FULL
    machine.instances[greedy].used_bytes = FULL + 1
    async with asyncio.timeout(20):
        await control.memory_watch.look()
    assert greedy not in machine.running()
    assert other in machine.running()

    (end,) = await ends_of_instances(control)
    assert (end.object_id, end.before, end.after) == (greedy, "Failing", "Failed")
    assert end.reason.startswith(f"The instance {greedy} of the variant AllTraffic used 16,385 MiB")

    async def replaced():
        return len(machine.running()) == 2

    await control.until(replaced, "another instance")
    await control.memory_watch.look()
    assert len(await ends_of_instances(control)) == 1
    machine.may_stop.set()


async def test_an_instance_that_grows_while_it_starts_fails_the_endpoint_with_that_reason(
    control, machine
):
    machine.first_ping_status = 500
    await make_model(control, "prod")
    await make_config(control, "config", "prod")
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="config")

    async def started():
        return machine.running()

    (id_,) = await control.until(started, "an instance")
    machine.instances[id_].used_bytes = FULL + 1
    await control.memory_watch.look()
    found = await control.until_endpoint("ep", "Failed")
    assert found["FailureReason"].startswith(f"The instance {id_} of the variant AllTraffic used")
    assert found["FailureReason"].endswith("or set hosting.memory_limit_bytes.")


async def test_a_setting_is_the_limit_of_every_instance(tmp_path, machine):
    async with running_control(
        tmp_path, machine, FakeClock(), memory_limit_bytes=MIB // 2
    ) as control:
        await make_endpoint(control)
        await control.memory_watch.look()
        (end,) = await ends_of_instances(control)
    assert "more than the 0 MiB of hosting.memory_limit_bytes" in end.reason


async def test_an_instance_whose_row_cannot_be_written_is_ended_all_the_same(control, machine):
    await make_endpoint(control)
    (id_,) = machine.running()
    machine.instances[id_].used_bytes = FULL + 1
    writing = Database.writing
    with mock.patch.object(Database, "writing", side_effect=DatabaseFailed("f", "written", "full")):
        with pytest.raises(DatabaseFailed):
            await control.memory_watch.look()
        assert machine.running() == set()
    assert Database.writing is writing

    async def recorded():
        return await ends_of_instances(control)

    (end,) = await control.until(recorded, "the end")
    assert (end.object_id, end.before, end.after) == (id_, "InService", "Failed")
    assert "MiB of memory" in end.reason


async def test_one_that_is_on_its_way_out_is_ended_with_that_reason_too(control, machine):
    await make_endpoint(control)
    (id_,) = machine.running()
    async with control.transactions.call() as call:
        record = await get_instance(call.connection, id_)
        await put_instance(call.connection, msgspec.structs.replace(record, status="Draining"))
    machine.instances[id_].used_bytes = FULL + 1
    await control.memory_watch.look()

    async def recorded():
        return await ends_of_instances(control)

    (end,) = await control.until(recorded, "the end")
    assert end.after == "Stopped"


class BlindHost(FakeHost):
    """One whose machine has no descriptor left for a look."""

    looks = 0

    async def over_memory(self, limits):
        self.looks += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.slow
async def test_what_cannot_be_looked_at_is_said_once_and_looked_at_again(control, machine):
    await make_endpoint(control)
    host = BlindHost(machine)
    memory_watch = MemoryWatch(host, control.keeper, HostingSettings())
    watch = Watch("the memory of instances", LOOK_S, memory_watch.look)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run())

            async def looked_twice():
                return host.looks >= 2

            await control.until(looked_twice, f"a second look after {LOOK_S} s")
            watch.close()
    (said,) = [entry for entry in logs if "memory" in entry.get("what", "")]
    assert "ulimit -n" in said["reason"]
