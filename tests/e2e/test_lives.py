"""One life of a Gnomon after another: what is handed on, what is left, and what is not."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import gnomon
from gnomon.testing.processes import EchoModels, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def pids(running):
    found = json.loads((running.data_dir / "gnomon.json").read_text())
    return {process["name"]: process["pid"] for process in found["processes"]}


def recorded(data_dir):
    """The processes on record, by name; of several with one name the last."""
    try:
        found = json.loads((data_dir / "processes.json").read_text())
    except OSError:
        return {}
    return {process["name"]: process["pid"] for process in found}


def instance_pids(data_dir):
    return {json.loads(lock.read_text())["pid"] for lock in data_dir.glob("instances/*/lock")}


def processes_of(data_dir):
    """Every process that has the data directory in its environment."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.fsencode(data_dir) in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(psutil.Process(pid))
    return found


@pytest.fixture
def data_dir(tmp_path):
    """A data directory of which no process outlives the test."""
    yield tmp_path / "g"
    for process in processes_of(tmp_path / "g"):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill(running):
    """SIGKILLs the supervisor; the next one's word is not mistaken for its."""
    running.process.kill()
    running.process.wait()
    (running.data_dir / "gnomon.json").unlink()


def up(data_dir, port, program=("-m", "gnomon.app.main"), **environ):
    """`gnomon up`, to its end."""
    return subprocess.run(
        [
            *(sys.executable, *program, "up", "--data-dir", str(data_dir)),
            *("--port", str(port), "--control-port", "0"),
        ],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        start_new_session=True,
    )


def restart(running):
    done = subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", "restart", "--data-dir", str(running.data_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Its control cannot even be imported.
BROKEN = """
from gnomon.app import supervisor
from gnomon.app.main import main

Child = supervisor.Child
supervisor.Child = lambda name, module, *rest: Child(
    name, "gnomon.app.missing" if name == "control" else module, *rest
)
main()
"""

# It is killed when the first of its routers runs and is about to be recorded.
KILLED_AT_START = """
import os
from gnomon.cli import former

record = former.record

def recorded(data_dir, processes):
    if any(process.name.startswith("router") for process in processes):
        os.kill(os.getpid(), 9)
    record(data_dir, processes)

former.record = recorded
from gnomon.app.main import main
main()
"""


def test_a_life_that_does_not_come_up_leaves_production_to_the_former_one(data_dir, tmp_path):
    with running_gnomon(data_dir) as former:
        echo = EchoModels(former, tmp_path, "held")
        echo.endpoint()
        router = pids(former)["router 0"]
        instances = instance_pids(data_dir)
        port = int(former.url.rpartition(":")[2])
        with RawTraffic(port, "held", rate=50.0) as traffic:
            kill(former)
            failed = up(data_dir, port, ("-c", BROKEN))
            assert failed.returncode == 1
            assert "control died 5 times" in failed.stderr
            assert "Routers and instances of the former life serve on" in failed.stderr
            assert recorded(data_dir) == {"router 0": router}
            with running_gnomon(data_dir, port) as successor:
                successor.wait(lambda: not psutil.pid_exists(router), "the end of the former one")
                answered = len(traffic.answered)
                successor.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
                assert instance_pids(data_dir) == instances
                # Before it goes down: that ends the traffic, too.
                traffic.__exit__()
    assert traffic.failures == []


def test_a_process_that_is_not_on_record_yet_does_not_outlive_its_supervisor(data_dir):
    killed = up(data_dir, 0, ("-c", KILLED_AT_START))
    assert killed.returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs(processes_of(data_dir), timeout=30)
    assert alive == []


def test_restarts_hand_on_one_socket_and_leave_none_behind(data_dir):
    with running_gnomon(data_dir) as running:
        for _ in range(2):
            restart(running)
        sockets = []
        for path in Path(f"/proc/{running.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets += [link for link in [os.readlink(path)] if link.startswith("socket:")]
        # One that exec had left open would be there beside the one that was taken anew.
        assert len(sockets) == len(set(sockets)) > 0


def test_a_restart_brings_new_code(data_dir, tmp_path):
    code = tmp_path / "code"
    shutil.copytree(Path(gnomon.__file__).parent, code / "gnomon")
    front = code / "gnomon" / "router" / "front.py"
    with running_gnomon(data_dir, PYTHONPATH=str(code)) as running:
        echo = EchoModels(running, tmp_path, "coded")
        echo.endpoint()
        instances = instance_pids(data_dir)
        port = int(running.url.rpartition(":")[2])
        with RawTraffic(port, "coded", rate=50.0) as traffic:
            text = front.read_text()
            front.write_text(text.replace("There is no such operation", "The new code has no such"))
            assert front.read_text() != text
            restart(running)
            answered = len(traffic.answered)
            running.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
            assert "The new code" in said_by_a_router(running)
        assert traffic.failures == []
        assert instance_pids(data_dir) == instances


def said_by_a_router(running):
    found = subprocess.run(
        ["curl", "-s", f"{running.url}/endpoints/x/unknown"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return found.stdout
