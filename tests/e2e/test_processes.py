"""What runs, what comes back when it dies, and what is left when Gnomon ends."""

import contextlib
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from gnomon.testing import reliability
from gnomon.testing.chaos import stopped
from gnomon.testing.processes import EchoModels, Traffic, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic
from gnomon.testing.reliability import Measured, failures, record

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def pids(gnomon):
    running = json.loads((gnomon.data_dir / "gnomon.json").read_text())
    return {process["name"]: process["pid"] for process in running["processes"]}


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextlib.contextmanager
def no_control(gnomon):
    """Kills control, and keeps the next one from beginning while this lasts."""
    with (gnomon.data_dir / "control.lock").open("a") as lock, ThreadPoolExecutor(1) as waiter:
        # It waits in the kernel before control dies, so that it is the next to have the lock.
        held = waiter.submit(fcntl.flock, lock, fcntl.LOCK_EX)
        gnomon.wait(lambda: f"FLOCK  ADVISORY  WRITE {os.getpid()}" in waiting_locks(), "waiting")
        os.kill(pids(gnomon)["control"], signal.SIGKILL)
        held.result()
        yield


@pytest.fixture
def killed():
    """Kills a supervisor and gives the processes that it had; none of them outlives the test."""
    families = []

    def kill(gnomon):
        family = psutil.Process(gnomon.process.pid).children(recursive=True)
        families.append(family)
        gnomon.process.kill()
        gnomon.process.wait()
        return family

    yield kill
    for process in itertools.chain(*families):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def waiting_locks():
    with open("/proc/locks") as file:
        return "".join(line for line in file if "->" in line)


def status_of(gnomon):
    """The HTTP status of a request to control, through a router."""
    try:
        with urllib.request.urlopen(f"{gnomon.url}/gnomon/v1/status", timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("name", ["control", "collector"])
def test_a_process_off_the_request_path_dies_and_no_request_fails(echo, name):
    echo.endpoint()
    before = pids(echo.gnomon)[name]
    with Traffic(lambda number: echo.invoke(f"{number}\n")["Body"].read()) as traffic:
        echo.gnomon.wait(lambda: traffic.sent > 50, "traffic before")
        os.kill(before, signal.SIGKILL)
        echo.gnomon.wait(lambda: pids(echo.gnomon)[name] != before, f"another {name}")
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent > sent + 50, "traffic after")
    assert traffic.failures == []
    total = len(traffic.answers)

    # A control that has died does not answer at once.
    echo.gnomon.wait(lambda: status_of(echo.gnomon) == 200, "control")

    def counted():
        variants = echo.gnomon.get(f"/endpoints/{echo.name}/metrics")["variants"]
        return variants.get("AllTraffic", {}).get("invocations") == total

    echo.gnomon.wait(counted, "every request counted, once")


def test_a_router_that_dies_is_followed_by_one_that_serves(echo):
    echo.endpoint()
    before = pids(echo.gnomon)["router 0"]
    os.kill(before, signal.SIGKILL)
    echo.gnomon.wait(lambda: pids(echo.gnomon)["router 0"] != before, "another router")
    assert echo.invoke("1\n")["Body"].read() == b"1\n"


def test_an_instance_that_dies_is_replaced_while_the_other_answers(echo):
    echo.endpoint(count=2)
    instances = [i for i in echo.gnomon.get("/status")["instances"] if i["endpoint"] == echo.name]
    victim = instances[0]["id"]
    lock = (echo.gnomon.data_dir / "instances" / victim / "lock").read_text()
    os.kill(json.loads(lock)["pid"] if lock.startswith("{") else int(lock.split()[0]), 9)

    def replaced():
        ids = {
            i["id"]
            for i in echo.gnomon.get("/status")["instances"]
            if i["endpoint"] == echo.name and i["status"] == "InService"
        }
        return len(ids) == 2 and victim not in ids

    echo.gnomon.wait(replaced, "two healthy instances")
    assert echo.invoke("1\n")["Body"].read() == b"1\n"


def test_going_down_leaves_no_process_and_coming_up_serves_again(tmp_path):
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2"}
    with running_gnomon(tmp_path / "g", **settings) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "again")
        echo.endpoint()
        family = psutil.Process(gnomon.process.pid).children(recursive=True)
        assert len(family) >= 4
        second = command("up", "--data-dir", str(tmp_path / "g"), "--port", "0")
        assert second.returncode == 1
        assert "runs on the data directory" in second.stderr
        port = gnomon.url.rpartition(":")[2]
        taken = command("up", "--data-dir", str(tmp_path / "h"), "--port", port)
        assert taken.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in taken.stderr
        down = command("down", "--data-dir", str(tmp_path / "g"))
        assert down.returncode == 0, down.stderr
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    with running_gnomon(tmp_path / "g", **settings) as gnomon:
        echo.gnomon = gnomon
        # It says that it is up when its endpoints answer.
        assert echo.invoke("1\n")["Body"].read() == b"1\n"


def test_while_control_is_away_its_requests_are_refused_at_once(echo):
    echo.endpoint()
    with no_control(echo.gnomon):
        began_s = time.monotonic()
        assert [status_of(echo.gnomon) for _ in range(20)] == [503] * 20
        # A request that waited for control would wait for as long as this lasts.
        assert time.monotonic() - began_s < 10
        assert echo.invoke("1\n")["Body"].read() == b"1\n"
        status = command("status", "--data-dir", str(echo.gnomon.data_dir))
        assert status.returncode == 1
        assert "router 0" in status.stdout
        assert "control process cannot be reached" in status.stderr
    echo.gnomon.wait(lambda: status_of(echo.gnomon) == 200, "control")


def test_going_down_without_control_leaves_no_instance(tmp_path):
    with running_gnomon(tmp_path / "g", GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as gnomon:
        echo = EchoModels(gnomon, tmp_path, "orphans")
        echo.endpoint(count=2)
        family = psutil.Process(gnomon.process.pid).children(recursive=True)
        with no_control(gnomon):
            down = command("down", "--data-dir", str(tmp_path / "g"))
        assert down.returncode == 0, down.stderr
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    assert "ended instances that control had left" in gnomon.log.read_text()


def test_after_a_killed_supervisor_it_comes_up_on_the_same_port_with_the_same_instances(
    tmp_path, killed
):
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2"}
    with running_gnomon(tmp_path / "g", **settings) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "left")
        echo.endpoint()
        instances = [i["id"] for i in gnomon.get("/status")["instances"]]
        before = [psutil.Process(pid) for pid in pids(gnomon).values()]
        family = killed(gnomon)
        # Routers and instances serve on.
        assert echo.invoke("1\n")["Body"].read() == b"1\n"
        (tmp_path / "g" / "gnomon.json").unlink()
    port = int(gnomon.url.rpartition(":")[2])
    with running_gnomon(tmp_path / "g", port, **settings) as gnomon:
        echo.gnomon = gnomon
        assert echo.invoke("2\n")["Body"].read() == b"2\n"
        # The former router ends when the new one answers.
        gnomon.wait(lambda: not any(process.is_running() for process in before), "their end")
        assert [i["id"] for i in gnomon.get("/status")["instances"]] == instances
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.fault
def test_up_after_a_killed_supervisor_refuses_nobody(tmp_path, killed):
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2", "GNOMON_SERVER_ROUTERS": "2"}
    with running_gnomon(tmp_path / "g", **settings) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "left")
        echo.endpoint()
        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "left", rate=100.0) as traffic:
            instances = [i["id"] for i in gnomon.get("/status")["instances"]]
            gnomon.wait(lambda: len(traffic.answered) > 50, "traffic before")
            whole_s = []
            for _ in range(2):
                before = pids(gnomon)
                killed_s = time.monotonic()
                killed(gnomon)
                follow(gnomon, tmp_path / "g", port, settings)
                whole_s.append(time.monotonic() - killed_s)
                gone = [psutil.Process(pid) for pid in before.values() if psutil.pid_exists(pid)]
                _, alive = psutil.wait_procs(gone, timeout=30)
                assert [process for process in alive if process.status() != "zombie"] == []
                answered = len(traffic.answered)
                gnomon.wait(lambda n=answered: len(traffic.answered) > n + 50, "traffic after")
        assert traffic.failures == []
        assert [i["id"] for i in gnomon.get("/status")["instances"]] == instances
        measured = Measured(whole_s, len(traffic.flights), failures(traffic.flights))
        record(reliability.SUPERVISOR_KILLED, measured)


def follow(gnomon, data_dir, port, settings):
    """Another supervisor where one was killed; `gnomon` is its from now on."""
    (data_dir / "gnomon.json").unlink()
    with gnomon.log.open("ab") as output:
        gnomon.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gnomon.app.main", "up", "--data-dir", str(data_dir)),
                *("--port", str(port), "--control-port", "0"),
            ],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    gnomon.wait((data_dir / "gnomon.json").exists, "gnomon.json")


def test_restart_refuses_nobody_takes_new_settings_and_keeps_the_instances(tmp_path):
    with running_gnomon(tmp_path / "g", GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as gnomon:
        echo = EchoModels(gnomon, tmp_path, "anew")
        echo.endpoint()
        data_dir = ("--data-dir", str(tmp_path / "g"))
        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "anew", rate=100.0) as traffic:
            instances = [i["id"] for i in gnomon.get("/status")["instances"]]
            before = pids(gnomon)
            (tmp_path / "g" / "gnomon.toml").write_text("[server]\nrouters = 2\n")
            done = command("restart", *data_dir)
            assert done.returncode == 0, done.stderr
            after = pids(gnomon)
            assert set(before.values()).isdisjoint(after.values())
            assert "router 1" in after
            assert str(gnomon.process.pid) in done.stdout
            (tmp_path / "g" / "gnomon.toml").write_text("[server]\nrouters = many\n")
            refused = command("restart", *data_dir)
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
            assert pids(gnomon) == after
            answered = len(traffic.answered)
            gnomon.wait(lambda: len(traffic.answered) > answered + 50, "traffic after")
        assert traffic.failures == []
        assert [i["id"] for i in gnomon.get("/status")["instances"]] == instances


@pytest.mark.fault
def test_a_router_that_hangs_is_killed_and_its_successor_serves_what_waits(tmp_path):
    with running_gnomon(tmp_path / "g", GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as gnomon:
        echo = EchoModels(gnomon, tmp_path, "hangs")
        echo.endpoint()
        router = pids(gnomon)["router 0"]
        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "hangs", rate=50.0) as traffic:
            gnomon.wait(lambda: len(traffic.answered) > 20, "traffic before")
            hung_s = time.monotonic()
            with stopped(router), ThreadPoolExecutor(1) as waiter:
                # A new connection: it waits on the socket, whose owner the supervisor is.
                waits = waiter.submit(one_request, gnomon, "hangs")
                gnomon.wait(lambda: pids(gnomon)["router 0"] != router, "another router")
                assert waits.result(60) == b"1\n"
                whole_s = time.monotonic() - hung_s
            answered = len(traffic.answered)
            gnomon.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
        assert "a router hangs and is killed" in gnomon.log.read_text()
    # They were in it when it was killed, at most one of each of the six that send.
    assert all(f.was_open(hung_s, hung_s + whole_s) for f in traffic.failures)
    assert len(traffic.failures) <= 6
    measured = Measured([whole_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.ROUTER_HUNG, measured)


def one_request(gnomon, name):
    request = urllib.request.Request(
        f"{gnomon.url}/endpoints/{name}/invocations",
        data=b"1\n",
        headers={"Content-Type": "text/csv"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_down_after_a_killed_supervisor_ends_all_of_it(tmp_path, killed):
    with running_gnomon(tmp_path / "g", GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as gnomon:
        EchoModels(gnomon, tmp_path, "left").endpoint()
        family = killed(gnomon)
    down = command("down", "--data-dir", str(tmp_path / "g"))
    assert down.returncode == 0, down.stderr
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_what_gnomon_writes_is_its_owners_alone(echo):
    echo.endpoint()
    echo.invoke("1\n")
    root = echo.gnomon.data_dir
    made = [path for path in root.rglob("*") if path.name != "up.log" and not path.is_symlink()]
    names = {path.name for path in made}
    assert {"state.db", "telemetry.db", "gnomon.json", "objects", "0.snapshot"} <= names
    readable = [path for path in made if path.lstat().st_mode & 0o077]
    # The model server is Gnomon's own code.
    assert [path for path in readable if path.suffix != ".pyz"] == []


def test_it_listens_on_ipv6_as_well(tmp_path):
    with running_gnomon(tmp_path / "g", GNOMON_SERVER_HOST="::1") as gnomon:
        assert gnomon.url.startswith("http://[::1]:")
        assert gnomon.client("sagemaker").list_endpoints()["Endpoints"] == []
        assert "http://[::1]:" in command("env", "--data-dir", str(tmp_path / "g")).stdout


def test_plain_aws_reaches_gnomon_by_the_exported_environment(echo):
    exported = command("env", "--data-dir", str(echo.gnomon.data_dir))
    for service in ("SAGEMAKER", "SAGEMAKER_RUNTIME", "CLOUDWATCH"):
        assert f"export AWS_ENDPOINT_URL_{service}={echo.gnomon.url}\n" in exported.stdout
    echo.endpoint()
    script = f"{exported.stdout}\naws sagemaker list-endpoints --query 'Endpoints[].EndpointName'"
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    found = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert echo.name in json.loads(found.stdout)


def test_status_and_report_are_shown_as_tables(echo):
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    echo.experiment(100)
    echo.invoke("1\n")
    data_dir = ("--data-dir", str(echo.gnomon.data_dir))
    status = command("status", *data_dir)
    assert echo.name in status.stdout
    assert "supervisor" in status.stdout
    report = command("report", echo.name, *data_dir)
    assert "latency p99" in report.stdout
    assert json.loads(command("report", echo.name, "--format", "json", *data_dir).stdout)
    missing = command("report", "no-such", *data_dir)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "Could not find inference experiment" in missing.stderr
