"""The machine runs out of something under a real Gnomon: traffic goes on, and so does the rest."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest
from botocore.exceptions import ClientError

from gnomon.testing import reliability
from gnomon.testing.chaos import instance_pid, pids
from gnomon.testing.processes import IMAGE, ROLE, EchoModels, archive, running_gnomon
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.raw_traffic import RawTraffic
from gnomon.testing.reliability import Measured, failures, record
from gnomon.testing.small_disk import CannotMount, fill, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIB = 1024**2
CAPTURED = "s3://captures/limits"


def lines(log):
    """What Gnomon logged, as it logs; and that there is no traceback among it."""
    text = log.read_text()
    # Shown by the line, which has all of it.
    assert [line for line in text.splitlines() if "Traceback" in line] == []
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextlib.contextmanager
def without_descriptors(pid):
    """What is open stays open, and nothing can be opened."""
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(small_disk(path, 96 * MIB))
        except CannotMount as error:
            pytest.skip(f"no file system can be mounted: {error}")
        yield path


@pytest.mark.fault
def test_a_disk_that_fills_up_costs_captures_and_no_request(disk, tmp_path):
    with running_gnomon(
        disk / "data",
        GNOMON_SPOOL_MIN_FREE_BYTES=str(32 * MIB),
        GNOMON_SPOOL_SEGMENT_AGE_S="1",
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "limits")
        echo.endpoint()
        echo.model("limits-shad")
        echo.experiment(
            100,
            DataStorageConfig={
                "Destination": CAPTURED,
                "ContentType": {"CsvContentTypes": ["text/csv"]},
            },
        )

        def warned(text):
            return lambda: any(text in said for said in gnomon.get("/status")["warnings"])

        def captured():
            return sum(map(len, echo.captured(CAPTURED).values()))

        def refused():
            with pytest.raises(ClientError) as caught:
                echo.model("limits-more")
            error = caught.value.response["Error"]
            assert error["Code"] == "ServiceUnavailable"
            assert "free space there" in error["Message"]

        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "limits", rate=60.0) as traffic:

            def more(count):
                before = len(traffic.answered)
                gnomon.wait(lambda: len(traffic.answered) > before + count, "traffic")

            gnomon.wait(captured, "captured records")
            fill(disk / "ballast", 24 * MIB)
            gnomon.wait(warned("and captures are dropped"), "captures that are dropped")
            gnomon.wait(lambda: echo.report()["lost"]["captures"] > 20, "lost captures")
            assert echo.report()["lost"]["pairs"] == 0
            refused()
            fill(disk / "ballast", 0)
            # Whether a write has already failed or not.
            whole = warned("captures and pairs are dropped"), warned("cannot be written (No space")
            gnomon.wait(lambda: any(said() for said in whole), "a disk that is full")
            more(120)
            refused()
            assert echo.sagemaker.describe_endpoint(EndpointName="limits")
            (disk / "ballast").unlink()
            free_s = time.monotonic()
            gnomon.wait(lambda: gnomon.get("/status")["warnings"] == [], "all well again")
            whole_s = time.monotonic() - free_s
            before = captured()
            gnomon.wait(lambda: captured() > before + 20, "captures again")
            echo.model("limits-after")
        assert traffic.failures == []
        done = echo.stop()
        assert "StatusReason" not in done or "missing" not in done["StatusReason"]
        report = echo.report()
        # Nothing is counted twice, and what metrics count the full disk has not cost.
        assert report["production"]["invocations"] == len(traffic.answered)
        assert report["lost"]["captures"] + captured() >= 2 * len(traffic.answered)
        lost = report["lost"]["captures"]
        record(
            reliability.DISK_FULL,
            Measured(
                [whole_s],
                len(traffic.flights),
                failures(traffic.flights),
                {"captured records": (lost, lost + captured())},
            ),
        )
    lines(gnomon.log)


def control_of(gnomon):
    """The pid of control, also while gnomon.json cannot be written; None while there is none."""
    for child in psutil.Process(gnomon.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "gnomon.app.control" in child.cmdline():
                return child.pid
    return None


def lives(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_control_that_begins_on_a_full_disk_says_so_and_goes_on_when_there_is_room(disk, tmp_path):
    (disk / "data").mkdir()
    # What is said is kept: the log lies elsewhere.
    (disk / "data" / "up.log").symlink_to(tmp_path / "up.log")
    with running_gnomon(
        disk / "data",
        GNOMON_SPOOL_MIN_FREE_BYTES=str(32 * MIB),
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
        GNOMON_HOSTING_PING_INTERVAL_S="0.1",
    ) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "begins")
        echo.endpoint(2)
        port = int(gnomon.url.rpartition(":")[2])
        gone, there = instances(gnomon)
        leader = instance_pid(gnomon, gone)
        with RawTraffic(port, "begins", rate=50.0) as traffic:
            former = control_of(gnomon)
            fill(disk / "ballast", 0)
            # Control sees neither end: both are there to be found by the next.
            os.kill(former, signal.SIGSTOP)
            killed_s = time.monotonic()
            os.kill(leader, signal.SIGKILL)
            gnomon.wait(lambda: not lives(leader), "the end of an instance")
            os.kill(former, signal.SIGKILL)
            gnomon.wait(lambda: control_of(gnomon) not in (None, former), "another control")

            def warns():
                with contextlib.suppress(OSError):
                    return [w for w in gnomon.get("/status")["warnings"] if "MiB are free" in w]

            gnomon.wait(warns, "a control that says so")
            gnomon.wait(lambda: logged(gnomon, "instance adopted", "control"), "an adoption")
            found = echo.sagemaker.describe_endpoint(EndpointName="begins")
            assert found["EndpointStatus"] == "InService"
            (disk / "ballast").unlink()
            gnomon.wait(lambda: gnomon.get("/status")["warnings"] == [], "all well again")

            def replaced():
                return len(instances(gnomon)) == 2 and gone not in instances(gnomon)

            gnomon.wait(replaced, "another instance")
            whole_s = time.monotonic()
        assert there in instances(gnomon)
        assert [f for f in traffic.failures if not f.was_open(killed_s, whole_s)] == []
        # At most those that were in flight on what was killed: one for each thread.
        assert len(traffic.failures) <= 6
    lines(gnomon.log)


def test_gnomon_up_on_a_full_disk_says_so_and_works_when_there_is_room(disk, tmp_path):
    room = {
        "GNOMON_SPOOL_MIN_FREE_BYTES": str(32 * MIB),
        "GNOMON_ROUTER_DRAIN_IDLE_S": "0.2",
    }
    with running_gnomon(disk / "data", **room) as gnomon:
        EchoModels(gnomon, tmp_path, "again").endpoint()
    fill(disk / "ballast", 0)
    up = [sys.executable, "-m", "gnomon.app.main", "up", "--data-dir", str(disk / "data")]
    ended = subprocess.run(
        [*up, "--port", "0", "--control-port", "0"],
        env={**os.environ, **room},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[-1] == (
        f"gnomon: The database {disk / 'data' / 'state.db'} cannot be written, since its disk is "
        "full: free space there, and start Gnomon again."
    )
    assert "Traceback" not in ended.stderr
    (disk / "ballast").unlink()
    with running_gnomon(disk / "data", **room) as gnomon:
        gnomon.wait(lambda: instances(gnomon), "an instance")


def test_a_model_that_there_is_no_room_for_fails_its_endpoint_and_leaves_nothing(disk, tmp_path):
    with running_gnomon(
        disk / "data", GNOMON_SPOOL_MIN_FREE_BYTES=str(32 * MIB), GNOMON_ROUTER_DRAIN_IDLE_S="0.2"
    ) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "wide")
        packed = archive(tmp_path / "wide.tar.gz", {"weights": "0" * (128 * MIB)})
        models = disk / "data" / "models"
        before = sorted(models.iterdir())
        echo.sagemaker.create_model(
            ModelName="wide",
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
            ExecutionRoleArn=ROLE,
        )
        echo.sagemaker.create_endpoint_config(
            EndpointConfigName="wide",
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": "wide",
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
        )
        echo.sagemaker.create_endpoint(EndpointName="wide", EndpointConfigName="wide")

        def failed():
            found = echo.sagemaker.describe_endpoint(EndpointName="wide")
            return found if found["EndpointStatus"] == "Failed" else None

        assert gnomon.wait(failed, "a failed endpoint")["FailureReason"] == (
            f"The model data at file://{packed} cannot be unpacked in {models}: the disk is full: "
            "free space there."
        )
        assert sorted(models.iterdir()) == before
    lines(gnomon.log)


@pytest.fixture(scope="module")
def gnomon(tmp_path_factory):
    with running_gnomon(
        tmp_path_factory.mktemp("limits"),
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
        GNOMON_HOSTING_PING_INTERVAL_S="0.1",
    ) as running:
        EchoModels(running, tmp_path_factory.mktemp("models"), "files").endpoint()
        yield running
    lines(running.log)


def logged(gnomon, event, process, since=0):
    return [
        line
        for line in lines(gnomon.log)[since:]
        if line["event"].startswith(event) and line.get("process", "").startswith(process)
    ]


def instances(gnomon):
    return [i["id"] for i in gnomon.get("/status")["instances"] if i["status"] == "InService"]


@pytest.mark.fault
def test_control_without_descriptors_ends_no_instance_and_comes_back(gnomon):
    before = instances(gnomon)
    since = len(lines(gnomon.log))
    port = int(gnomon.url.rpartition(":")[2])
    with RawTraffic(port, "files", rate=50.0) as traffic:
        with without_descriptors(pids(gnomon)["control"]):
            gnomon.wait(
                lambda: logged(gnomon, "no file descriptor is left", "control", since), "a line"
            )
            # Some dozens of pings that could not be sent.
            answered = len(traffic.answered)
            gnomon.wait(lambda: len(traffic.answered) > answered + 200, "traffic")
        free_s = time.monotonic()
        gnomon.wait(
            lambda: logged(gnomon, "file descriptors are free again", "control", since), "a line"
        )
        gnomon.wait(lambda: instances(gnomon) == before, "the same instances")
        gnomon.client("sagemaker").list_models()
        whole_s = time.monotonic() - free_s
    assert traffic.failures == []
    measured = Measured([whole_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.CONTROL_DESCRIPTORS, measured)


@pytest.mark.fault
async def test_a_router_without_descriptors_serves_whom_it_has_and_comes_back(gnomon):
    router = next(pid for name, pid in pids(gnomon).items() if name.startswith("router"))
    since = len(lines(gnomon.log))
    port = int(gnomon.url.rpartition(":")[2])
    async with RawClient(port) as client:
        assert (await client.ask(invocation("files", b"x"))).status == 200
        with without_descriptors(router):
            # Its connection to the instance is kept for a second at least.
            assert (await client.ask(invocation("files", b"x"))).status == 200
            gnomon.wait(
                lambda: logged(gnomon, "no file descriptor is left", "router", since), "a line"
            )
        free_s = time.monotonic()
        assert (await client.ask(invocation("files", b"x"))).status == 200
    async with RawClient(port) as client:
        assert (await client.ask(invocation("files", b"x"))).status == 200
    record(reliability.ROUTER_DESCRIPTORS, Measured([time.monotonic() - free_s]))


@pytest.mark.fault
def test_a_supervisor_without_descriptors_starts_what_died_when_it_can(gnomon):
    collector = pids(gnomon)["collector"]
    since = len(lines(gnomon.log))
    with without_descriptors(gnomon.process.pid):
        os.kill(collector, signal.SIGKILL)
        gnomon.wait(
            lambda: logged(gnomon, "a process cannot be started", "collector", since), "a line"
        )
    free_s = time.monotonic()
    gnomon.wait(lambda: pids(gnomon)["collector"] not in {collector, 0}, "another collector")
    record(reliability.SUPERVISOR_DESCRIPTORS, Measured([time.monotonic() - free_s]))


@pytest.mark.fault
def test_a_collector_without_descriptors_carries_on_when_it_has_some(gnomon):
    port = int(gnomon.url.rpartition(":")[2])
    since = len(lines(gnomon.log))

    def counted():
        variants = gnomon.get("/endpoints/files/metrics")["variants"]
        return sum(variant["invocations"] for variant in variants.values())

    first = counted()
    with RawTraffic(port, "files", rate=50.0) as traffic:
        gnomon.wait(lambda: counted() > first, "a collector that is up")
        before = counted()
        with without_descriptors(pids(gnomon)["collector"]):
            gnomon.wait(
                lambda: logged(gnomon, "no file descriptor is left", "collector", since), "a line"
            )
        short = counted()
        free_s = time.monotonic()
        gnomon.wait(lambda: counted() > short, "another count")
        whole_s = time.monotonic() - free_s
        gnomon.wait(lambda: counted() > before + 50, "counts")
    assert traffic.failures == []
    measured = Measured([whole_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.COLLECTOR_DESCRIPTORS, measured)
