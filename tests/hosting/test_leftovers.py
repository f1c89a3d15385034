"""What is left of instances when control is gone, and how it ends."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from gnomon.hosting import launcher, leftovers, session
from gnomon.hosting.files import InstanceFiles, Launch
from gnomon.hosting.host import InstanceSpec, Started
from gnomon.hosting.images import Command


@pytest.fixture
def start(make_host, tmp_path, eventually):
    """Starts an instance that runs a shell script, by a control that is gone afterwards."""

    async def started(instance_id, script, data_dir):
        host = make_host()
        command = Command(("sh", "-c", script))
        await host.start(InstanceSpec(instance_id, "endpoint", "variant", command, tmp_path))
        await host.close()
        work = InstanceFiles(data_dir, instance_id).work
        await eventually((work / "ready").exists)

    return started


def log_of(data_dir, instance_id):
    return InstanceFiles(data_dir, instance_id).log.read_text()


async def test_an_instance_is_asked_to_end(start, data_dir):
    await start(
        "a", "trap 'echo asked; exit' TERM; touch ready; while :; do sleep 0.05; done", data_dir
    )
    assert leftovers.living(data_dir) == ["a"]
    assert await asyncio.to_thread(leftovers.end, data_dir, 30.0) == ["a"]
    assert log_of(data_dir, "a") == "asked\n"
    assert leftovers.living(data_dir) == []


async def test_one_that_does_not_end_in_time_is_killed(start, data_dir):
    await start("a", "trap '' TERM; touch ready; while :; do sleep 0.05; done", data_dir)
    await asyncio.to_thread(leftovers.end, data_dir, 0.2)
    assert leftovers.living(data_dir) == []


async def test_what_its_leader_started_ends_with_it(start, data_dir):
    stubborn = "(trap '' TERM; touch ready; while :; do sleep 0.05; done)"
    await start("a", f"trap 'exit' TERM; {stubborn} & wait", data_dir)
    leader = InstanceFiles(data_dir, "a").read_leader()
    await asyncio.to_thread(leftovers.end, data_dir, 30.0)
    assert not session.session_lives(leader)


async def test_what_its_leader_left_behind_ends_though_the_leader_is_gone(
    start, data_dir, eventually
):
    # The leader goes only when its host is gone, which would otherwise see to the rest itself.
    script = "sleep 1000 & touch ready; while [ ! -e go ]; do sleep 0.01; done"
    await start("a", script, data_dir)
    files = InstanceFiles(data_dir, "a")
    leader = files.read_leader()
    (files.work / "go").touch()
    await eventually(lambda: not session.is_alive(leader))
    assert leftovers.living(data_dir) == ["a"]
    await asyncio.to_thread(leftovers.end, data_dir, 30.0)
    assert not session.session_lives(leader)


async def test_several_end_at_once_and_what_has_ended_is_passed_over(start, data_dir):
    for name in ("a", "b"):
        await start(name, "touch ready; exec sleep 1000", data_dir)
    await start("c", "touch ready", data_dir)
    (data_dir / "instances" / "d").mkdir()
    assert await asyncio.to_thread(leftovers.end, data_dir, 30.0) == ["a", "b"]
    assert await asyncio.to_thread(leftovers.end, data_dir, 30.0) == []


def test_a_launcher_that_comes_late_ends_by_itself(data_dir):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))
    assert leftovers.end(data_dir, 0.0) == []
    paths = (files.directory, "token", files.log, files.work)
    late = subprocess.run(
        [sys.executable, "-I", "-S", launcher.__file__, *map(str, paths), "0", "true"], check=False
    )
    assert late.returncode == launcher.EXIT_GIVEN_UP


def test_one_whose_launcher_is_about_to_say_who_it_is_counts_as_living(data_dir):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))
    with (files.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert leftovers.living(data_dir) == ["a"]


def test_without_instances_nothing_is_left(data_dir):
    assert leftovers.living(data_dir) == []
    assert leftovers.end(data_dir, 0.0) == []


def test_a_signal_reaches_only_the_process_that_is_meant():
    with subprocess.Popen(["sleep", "1000"]) as program:
        found = session.stat(program.pid)
        stranger = session.Leader(program.pid, found.start_ticks - 1, session.boot_id(), "")
        assert not session.send(stranger, signal.SIGKILL)
        meant = session.Leader(program.pid, found.start_ticks, session.boot_id(), "")
        assert session.send(meant, signal.SIGKILL)
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        # A zombie is not there any more.
        assert not session.send(meant, signal.SIGKILL)
    assert not session.send(meant, signal.SIGKILL)
