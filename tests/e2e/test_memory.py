"""A model that fills its memory under a real Gnomon: its instance ends, and nobody else notices."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gnomon.hosting.files import InstanceFiles
from gnomon.hosting.session import is_alive
from gnomon.testing import reliability
from gnomon.testing.processes import IMAGE, ROLE, EchoModels, archive, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic
from gnomon.testing.reliability import Measured, failures, record

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIB = 1024**2
LIMIT_BYTES = 256 * MIB


@pytest.fixture(scope="module")
def gnomon(tmp_path_factory):
    with running_gnomon(
        tmp_path_factory.mktemp("memory"),
        GNOMON_HOSTING_MEMORY_LIMIT_BYTES=str(LIMIT_BYTES),
        GNOMON_HOSTING_PING_INTERVAL_S="0.1",
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


# Of the flags in proc(5)'s stat: it is on its way out, and has yet to give back its memory and to
# close its sockets.
PF_EXITING = 0x4


def lives(leader):
    try:
        stat = Path(f"/proc/{leader.pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not int(stat.rpartition(b")")[2].split()[6]) & PF_EXITING


def is_gone(leader):
    """A leader is a zombie before the last of its threads has closed the sockets."""
    try:
        threads = list(Path(f"/proc/{leader.pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return True
    return not is_alive(leader) and len(threads) <= 1


class Deaths:
    """Watches leaders of instances die: between which moments (monotonic seconds) each did, from
    the last at which nothing of it was seen to the first at which nothing was left.
    """

    def __init__(self, gnomon, instance_ids):
        self.brackets = {}
        self._leaders = {
            id_: InstanceFiles(gnomon.data_dir, id_).read_leader() for id_ in instance_ids
        }
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        seen_s = dict.fromkeys(self._leaders, time.monotonic())
        while not self._ending.wait(0.002):
            for id_ in self._leaders.keys() - self.brackets.keys():
                before_s = time.monotonic()
                if lives(self._leaders[id_]):
                    seen_s[id_] = before_s
                elif is_gone(self._leaders[id_]):
                    self.brackets[id_] = (seen_s[id_], time.monotonic())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()


def instances(gnomon, variant):
    return {
        i["id"]
        for i in gnomon.get("/status")["instances"]
        if i["status"] == "InService" and i["variant"] == variant
    }


def ends(gnomon, variant):
    return [
        event
        for event in gnomon.get("/events?name=memory")
        if event["name"] == f"memory/{variant}" and event["after"] in ("Failed", "Stopped")
    ]


@pytest.mark.fault
def test_an_instance_that_fills_its_memory_costs_what_was_in_flight_on_it(gnomon, tmp_path):
    hungry = {"AllTraffic": tmp_path / "production", "Shadow-01": tmp_path / "shadow"}
    counts = {"AllTraffic": 2, "Shadow-01": 1}
    echo = EchoModels(gnomon, tmp_path, "memory")
    echo.endpoint(2, EATS=str(hungry["AllTraffic"]))
    echo.model("memory-shad", EATS=str(hungry["Shadow-01"]))
    echo.experiment(100, count=2)
    victims = {}
    whole_s = {}
    port = int(gnomon.url.rpartition(":")[2])

    def fill(variant):
        """Until another instance is there in the place of the one that died."""
        before = instances(gnomon, variant)
        hungry[variant].touch()
        gnomon.wait(lambda: ends(gnomon, variant), "the end of an instance")
        gnomon.wait(lambda: len(instances(gnomon, variant)) == counts[variant], "another one")
        whole_s[variant] = time.monotonic()
        (victims[variant],) = before - instances(gnomon, variant)

    def more(count):
        before = len(traffic.answered)
        gnomon.wait(lambda: len(traffic.answered) > before + count, "traffic")

    everyone = instances(gnomon, "AllTraffic") | instances(gnomon, "Shadow-01")
    with (
        Deaths(gnomon, everyone) as deaths,
        RawTraffic(port, "memory", rate=100.0) as traffic,
    ):
        more(50)
        fill("Shadow-01")
        more(50)
        assert traffic.failures == []
        fill("AllTraffic")
        more(50)
    assert deaths.brackets.keys() == set(victims.values())
    died = deaths.brackets[victims["AllTraffic"]]
    assert [flight for flight in traffic.failures if not flight.was_open(*died)] == []
    seconds = [whole_s[variant] - deaths.brackets[id_][1] for variant, id_ in victims.items()]
    failed = failures(traffic.failures)
    record(reliability.INSTANCE_OVER_MEMORY, Measured(seconds, len(traffic.flights), failed))

    # Each ended once, is said with what to do, and counted as away in the report.
    away = echo.report()["away"]
    for variant, id_ in victims.items():
        (end,) = ends(gnomon, variant)
        assert (end["id"], end["before"]) == (id_, "Failing")
        assert end["reason"].startswith(f"The instance {id_} of the variant {variant} used ")
        used = int(end["reason"].split(" used ")[1].split(" MiB")[0].replace(",", ""))
        assert used > 256
        assert end["reason"].endswith(
            "more than the 256 MiB of hosting.memory_limit_bytes, and was ended: raise that "
            "setting, or have the model use less."
        )
        assert [a["reason"] for a in away if a["instance_id"] == id_] == [end["reason"]]
        assert end["reason"] in said(gnomon, "events", "memory")
        assert end["reason"] in [i["reason"] for i in gnomon.get("/status")["instances"]]
    echo.stop()


def said(gnomon, *arguments):
    """What a command prints."""
    return subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", *arguments, "--data-dir", str(gnomon.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_model_that_needs_more_memory_than_there_is_fails_its_endpoint(gnomon, tmp_path):
    handler = (
        "import time\n\n\ndef model_fn(model_dir):\n"
        f"    weights = b'x' * {LIMIT_BYTES + 64 * MIB}\n    time.sleep(60)\n    return weights\n"
    )
    packed = archive(tmp_path / "large.tar.gz", {"code/inference.py": handler})
    sagemaker = gnomon.client("sagemaker")
    sagemaker.create_model(
        ModelName="large",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
        ExecutionRoleArn=ROLE,
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="large",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "large",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName="large", EndpointConfigName="large")

    def failed():
        found = sagemaker.describe_endpoint(EndpointName="large")
        return found if found["EndpointStatus"] == "Failed" else None

    reason = gnomon.wait(failed, "a failed endpoint")["FailureReason"]
    assert reason.startswith("The instance ")
    assert "more than the 256 MiB of hosting.memory_limit_bytes" in reason
