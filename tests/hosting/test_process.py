"""What only real processes do; what every host does is in test_host_contract.py."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.hosting import launcher, session
from gnomon.hosting.files import InstanceFiles, Launch
from gnomon.hosting.health import ping
from gnomon.hosting.host import Exited, InstanceNotStarted, InstanceSpec, Running, Started
from gnomon.hosting.images import Command, ModelServer

ECHO = """
def model_fn(model_dir):
    return None
def predict_fn(data, model):
    return data
"""


def spec(instance_id: str, tmp_path: Path, runtime=None, **more) -> InstanceSpec:
    return InstanceSpec(
        instance_id=instance_id,
        endpoint_name="endpoint",
        variant_name="variant",
        runtime=runtime or ModelServer(),
        model_dir=tmp_path / "base" / "model",
        **more,
    )


def shell(script: str) -> Command:
    return Command(("sh", "-c", script))


def write_code(tmp_path: Path, text: str) -> None:
    code = tmp_path / "base" / "model" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(text)


async def ended(host, instance_id: str, eventually) -> Exited:
    async def look():
        seen = await host.observe(instance_id)
        return seen if isinstance(seen, Exited) else None

    return await eventually(look)


def log_of(data_dir: Path, instance_id: str) -> str:
    return InstanceFiles(data_dir, instance_id).log.read_text()


# --- The model server as an instance -----------------------------------------------------------


async def test_the_model_server_becomes_healthy_and_answers(make_host, tmp_path, eventually):
    write_code(tmp_path, ECHO)
    started = await make_host().start(spec("a", tmp_path))

    await eventually(lambda: ping(started.host, started.port, started.ping_path, 2.0))

    reader, writer = await asyncio.open_connection(started.host, started.port)
    writer.write(b"POST /invocations HTTP/1.1\r\nConnection: close\r\nContent-Length: 7\r\n\r\n")
    writer.write(b'{"a":1}')
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"a": 1}


async def test_the_model_server_ends_well_when_it_is_stopped(make_host, tmp_path, eventually):
    write_code(tmp_path, ECHO)
    host = make_host()
    started = await host.start(spec("a", tmp_path))
    await eventually(lambda: ping(started.host, started.port, "/ping", 2.0))

    await host.stop("a")

    assert await host.observe("a") == Exited(0)


async def test_the_interpreter_of_the_instance_wins_over_the_settings(
    make_host, data_dir, tmp_path, eventually
):
    host = make_host(interpreter="/bin/false")
    await host.start(spec("a", tmp_path, ModelServer("/bin/echo")))

    assert await ended(host, "a", eventually) == Exited(0)
    assert "gnomon_serving" in log_of(data_dir, "a")


async def test_a_model_that_does_not_load_ends_its_instance(
    make_host, data_dir, tmp_path, eventually
):
    write_code(tmp_path, "def model_fn(model_dir):\n    raise ValueError('no weights')\n")
    host = make_host()
    await host.start(spec("a", tmp_path))

    assert await ended(host, "a", eventually) == Exited(1)
    assert "ValueError: no weights" in log_of(data_dir, "a")


async def test_a_dead_instance_refuses_connections(make_host, tmp_path, eventually):
    write_code(tmp_path, "import os\nos._exit(3)\n")
    host = make_host()
    started = await host.start(spec("a", tmp_path))
    await ended(host, "a", eventually)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((started.host, started.port))


# --- How it ends -------------------------------------------------------------------------------


async def test_a_program_that_is_not_there(make_host, data_dir, tmp_path, eventually):
    host = make_host()
    await host.start(spec("a", tmp_path, Command(("no-such-program",))))

    assert await ended(host, "a", eventually) == Exited(launcher.EXIT_NOT_FOUND)
    assert "no-such-program" in log_of(data_dir, "a")


async def test_a_file_that_is_no_program(make_host, tmp_path, eventually):
    text = tmp_path / "text"
    text.write_text("not a program")
    host = make_host()
    await host.start(spec("a", tmp_path, Command((str(text),))))

    assert await ended(host, "a", eventually) == Exited(launcher.EXIT_CANNOT_EXEC)


async def test_what_ignores_sigterm_does_not_hold_up_a_stop_at_once(
    make_host, data_dir, tmp_path, eventually
):
    host = make_host(stop_time_limit_s=60.0)
    script = (
        "trap '' TERM; sh -c 'trap : TERM; touch ready; while true; do sleep 0.01; done' & wait"
    )
    await host.start(spec("a", tmp_path, shell(script)))
    await eventually((InstanceFiles(data_dir, "a").work / "ready").exists)
    asked = asyncio.create_task(host.stop("a"))

    async with asyncio.timeout(20):
        await host.stop("a", at_once=True)
        await asked

    assert await host.observe("a") == Exited(-9)


async def test_what_ignores_sigterm_is_killed(make_host, data_dir, tmp_path, eventually):
    host = make_host(stop_time_limit_s=0.2)
    script = "trap '' TERM; touch ready; while true; do sleep 0.01; done"
    await host.start(spec("a", tmp_path, shell(script)))
    await eventually((InstanceFiles(data_dir, "a").work / "ready").exists)

    await host.stop("a")

    assert await host.observe("a") == Exited(-9)


async def test_an_adopted_instance_that_ignores_sigterm_is_killed(
    make_host, data_dir, tmp_path, eventually
):
    script = "trap '' TERM; touch ready; while true; do sleep 0.01; done"
    await make_host().start(spec("a", tmp_path, shell(script)))
    await eventually((InstanceFiles(data_dir, "a").work / "ready").exists)
    successor = make_host(stop_time_limit_s=0.2)
    await successor.adopt("a")

    await successor.stop("a")

    assert await successor.observe("a") == Exited(None)


async def test_a_slow_stop_holds_no_other_up(make_host, data_dir, tmp_path, eventually):
    host = make_host()
    script = "trap '' TERM; touch ready; while true; do sleep 0.01; done"
    await host.start(spec("slow", tmp_path, shell(script)))
    await host.start(spec("quick", tmp_path, shell("sleep 1000")))
    await eventually((InstanceFiles(data_dir, "slow").work / "ready").exists)
    slow = asyncio.create_task(host.stop("slow"))

    await host.stop("quick")

    assert not slow.done()
    assert await host.observe("slow") == Running()
    slow.cancel()


async def test_a_cancelled_stop_goes_on(make_host, tmp_path, eventually):
    host = make_host()
    await host.start(spec("a", tmp_path, shell("exec sleep 1000")))
    caller = asyncio.create_task(host.stop("a"))
    await asyncio.sleep(0)
    caller.cancel()

    assert await ended(host, "a", eventually) == Exited(-15)


@pytest.mark.parametrize("is_adopted", [False, True])
async def test_what_a_dead_leader_leaves_behind_is_killed(
    make_host, data_dir, tmp_path, eventually, is_adopted
):
    host = make_host()
    script = "sleep 1000 & echo $! > child.new; mv child.new child; read _ < hold; exit 5"
    work = InstanceFiles(data_dir, "a").work
    work.mkdir(parents=True)
    os.mkfifo(work / "hold")
    await host.start(spec("a", tmp_path, shell(script)))
    await eventually((work / "child").exists)
    child = int((work / "child").read_text())
    if is_adopted:
        host = make_host()
        assert await host.adopt("a")

    (work / "hold").write_text("go\n")

    assert await ended(host, "a", eventually) == Exited(None if is_adopted else 5)
    left = session.stat(child)
    assert left is None or left.is_zombie


async def test_sigkill_reaches_the_whole_session(make_host, data_dir, tmp_path, eventually):
    host = make_host(stop_time_limit_s=0.0)
    work = InstanceFiles(data_dir, "a").work
    script = "sleep 1000 & echo $! > child.new; mv child.new child; wait"
    await host.start(spec("a", tmp_path, shell(script)))
    await eventually((work / "child").exists)

    await host.stop("a")

    left = session.stat(int((work / "child").read_text()))
    assert left is None or left.is_zombie


async def test_an_instance_that_nobody_has_waited_for_counts_as_dead(
    make_host, data_dir, tmp_path, eventually
):
    await make_host().start(spec("a", tmp_path, shell("exec sleep 1000")))
    successor = make_host()
    await successor.adopt("a")
    leader = InstanceFiles(data_dir, "a").read_leader()

    os.kill(leader.pid, 9)

    # The first host, its parent, never looks: the process stays a zombie.
    assert await ended(successor, "a", eventually) == Exited(None)
    assert session.stat(leader.pid).is_zombie


# --- How it starts -----------------------------------------------------------------------------


async def test_an_instance_leads_a_session_of_its_own(make_host, data_dir, tmp_path):
    await make_host().start(spec("a", tmp_path, shell("exec sleep 1000")))

    leader = InstanceFiles(data_dir, "a").read_leader()

    assert os.getsid(leader.pid) == leader.pid
    assert session.is_alive(leader)


async def test_the_environment_is_clean(make_host, data_dir, tmp_path, eventually):
    host = make_host()
    await host.start(spec("a", tmp_path, shell("env"), environment={"OF_USER": "yes"}, threads=3))
    await ended(host, "a", eventually)

    lines = log_of(data_dir, "a").splitlines()

    assert "OF_USER=yes" in lines
    assert "OMP_NUM_THREADS=3" in lines
    assert f"SM_MODEL_DIR={tmp_path}/base/model" in lines
    assert not [line for line in lines if line.startswith(("PYTHONPATH", "AWS_", "GNOMON_LISTEN"))]


async def test_limits_and_signals_are_what_programs_expect(
    make_host, data_dir, tmp_path, eventually
):
    host = make_host()
    script = "ulimit -c; grep -E 'SigIgn|SigBlk' /proc/self/status; pwd"
    await host.start(spec("a", tmp_path, shell(script)))
    await ended(host, "a", eventually)

    assert log_of(data_dir, "a").split() == [
        "0",
        *("SigBlk:", "0000000000000000"),
        *("SigIgn:", "0000000000000000"),
        str(InstanceFiles(data_dir, "a").work),
    ]


async def test_an_instance_gets_no_sockets_but_its_own(make_host, data_dir, tmp_path, eventually):
    write_code(tmp_path, ECHO)
    host = make_host()
    await host.start(spec("server", tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as ours:
        ours.set_inheritable(True)
        await host.start(spec("a", tmp_path, shell("ls -l /proc/self/fd")))
        await ended(host, "a", eventually)

    assert "socket:" not in log_of(data_dir, "a")


async def test_a_foreign_command_gets_a_reserved_port(make_host, data_dir, tmp_path, eventually):
    host = make_host(foreign_port_first=21500, foreign_port_last=21999)
    script = "echo $SAGEMAKER_BIND_TO_PORT"
    started = await host.start(spec("a", tmp_path, shell(script)))
    await ended(host, "a", eventually)

    assert 21500 <= started.port <= 21999
    assert log_of(data_dir, "a").strip() == str(started.port)


async def test_an_adopted_port_is_not_given_away(make_host, tmp_path):
    # One port alone: whoever gets a second one would share it.
    only = await free_port()
    settings = {"foreign_port_first": only, "foreign_port_last": only}
    await make_host(**settings).start(spec("a", tmp_path, shell("sleep 1000")))
    successor = make_host(**settings)
    await successor.adopt("a")

    with pytest.raises(InstanceNotStarted, match="no port"):
        await successor.start(spec("b", tmp_path, shell("sleep 1000")))


async def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def test_a_directory_that_cannot_be_written_to(make_host, data_dir, tmp_path):
    data_dir.mkdir()
    (data_dir / "logs").write_text("a file")

    with pytest.raises(InstanceNotStarted, match="could not be started"):
        await make_host().start(spec("a", tmp_path, shell("sleep 1000")))


# --- Late launchers ----------------------------------------------------------------------------


def launch_late(data_dir: Path, token: str) -> int:
    """Run a launcher as an earlier control would have, and give its exit status."""
    files = InstanceFiles(data_dir, "a")
    files.make()
    paths = (files.directory, token, files.log, files.work)
    command = [sys.executable, "-I", "-S", launcher.__file__, *map(str, paths), "0", "true"]
    return subprocess.run(command, check=False).returncode


async def test_a_late_launcher_becomes_an_instance_while_it_is_wanted(data_dir):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))

    assert launch_late(data_dir, "token") == 0


async def test_a_late_launcher_ends_at_the_tombstone(make_host, data_dir):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))

    assert not await make_host().adopt("a")

    assert launch_late(data_dir, "token") == launcher.EXIT_GIVEN_UP


async def test_a_late_launcher_ends_when_stop_came_first(make_host, data_dir):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))

    await make_host().stop("a")

    assert launch_late(data_dir, "token") == launcher.EXIT_GIVEN_UP


async def test_a_late_launcher_ends_when_another_launch_is_wanted(make_host, data_dir, tmp_path):
    await make_host().start(spec("a", tmp_path, shell("exit 0")))

    assert launch_late(data_dir, "an earlier token") == launcher.EXIT_GIVEN_UP


async def test_a_launcher_waits_for_a_lock_that_is_only_tried(data_dir, eventually):
    files = InstanceFiles(data_dir, "a")
    files.make()
    files.write_launch(Launch("token", Started("127.0.0.1", 1, 1.0)))

    with files.locked() as is_ours:
        late = asyncio.create_task(asyncio.to_thread(launch_late, data_dir, "token"))
        await eventually(files.log.exists)
        assert is_ours
        assert not late.done()

    assert await late == 0


@pytest.mark.slow
async def test_a_launcher_ends_while_another_holds_the_lock(data_dir):
    files = InstanceFiles(data_dir, "a")

    with files.locked():
        assert launch_late(data_dir, "token") == launcher.EXIT_LOCKED


# --- Identity ----------------------------------------------------------------------------------


async def test_a_stranger_with_the_same_pid_is_let_live(make_host, data_dir, tmp_path):
    await make_host().start(spec("a", tmp_path, shell("exec sleep 1000")))
    leader = InstanceFiles(data_dir, "a").read_leader()
    earlier = session.Leader(leader.pid, leader.start_ticks - 1, leader.boot_id, leader.token)
    before_boot = session.Leader(leader.pid, leader.start_ticks, "another boot", leader.token)

    for stranger in (earlier, before_boot):
        assert not session.is_alive(stranger)
        assert session.kill_session_of(stranger)

    assert session.is_alive(leader)
