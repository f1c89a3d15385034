"""A real control is SIGKILLed at a boundary of an action, under traffic, while a test runs its
course.

Every boundary of every action is tried in one process (tests/control/test_faults.py); these are
five of them with real processes: what the kernel, the supervisor and real instances do is real.
"""

import contextlib
import datetime as dt
import time
from collections import Counter

import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from gnomon.control.actions import BeginTest, EndTest, Serve, StartInstance, StopInstance
from gnomon.testing.chaos import instance_pid, pids
from gnomon.testing.faults import Boundary
from gnomon.testing.killed_control import environment
from gnomon.testing.processes import ROLE, EchoModels, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DESTINATION = "s3://bucket/killed"
# The test's length in seconds: it begins, is killed and comes back, and has some time left.
LASTS_S = 10.0
RATE = 50.0

BOUNDARIES = [
    # The shadow is spawned, and its row does not say so.
    Boundary(StartInstance, "after", 2),
    # The endpoint under test serves, and no router has been told.
    Boundary(Serve, "recorded", 2),
    # The shadow has ended, and its row does not say so.
    Boundary(StopInstance, "after", 1),
    Boundary(BeginTest, "recorded", 1),
    Boundary(EndTest, "after", 1),
]


class Course:
    """One test from its creation to the end of its schedule; calls come again after a failure."""

    def __init__(self, gnomon, echo):
        self.gnomon = gnomon
        self.echo = echo

    def create(self):
        self.ends_at_s = time.time() + LASTS_S
        request = {
            "Name": self.echo.name,
            "Type": "ShadowMode",
            "RoleArn": ROLE,
            "EndpointName": self.echo.name,
            "ModelVariants": [
                self.echo._variant(f"{self.echo.name}-prod", "AllTraffic", 1),
                self.echo._variant(f"{self.echo.name}-shad", "Shadow-01", 1),
            ],
            "ShadowModeConfig": {
                "SourceModelVariantName": "AllTraffic",
                "ShadowModelVariants": [
                    {"ShadowModelVariantName": "Shadow-01", "SamplingPercentage": 100}
                ],
            },
            "Schedule": {
                "StartTime": dt.datetime.now(dt.UTC),
                "EndTime": dt.datetime.fromtimestamp(self.ends_at_s, dt.UTC),
            },
            "DataStorageConfig": {"Destination": DESTINATION},
        }
        # Its answer may be lost with control, and the test is there.
        with contextlib.suppress(BotoCoreError, ClientError):
            self.echo.sagemaker.create_inference_experiment(**request)

    def until(self, *statuses):
        self.gnomon.wait(lambda: self.status() in statuses, f"the test {statuses}")

    def status(self):
        with contextlib.suppress(BotoCoreError, ClientError):
            return self.echo.sagemaker.describe_inference_experiment(Name=self.echo.name)["Status"]
        return None

    def instances(self):
        with contextlib.suppress(OSError):
            found = self.gnomon.get(f"/endpoints/{self.echo.name}/instances")
            return sorted((i["variant"], i["status"]) for i in found)
        return None


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_a_test_runs_its_course_though_control_is_killed(tmp_path, boundary):
    environ = environment(tmp_path, boundary) | {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2"}
    with running_gnomon(tmp_path / "g", **environ) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "killed")
        echo.endpoint()
        echo.model("killed-shad")
        control = pids(gnomon)["control"]
        port = int(gnomon.url.rpartition(":")[2])
        course = Course(gnomon, echo)
        with RawTraffic(port, "killed", RATE) as traffic:
            course.create()
            course.until("Running")
            running_s = time.monotonic()
            course.until("Completed")
            captured = echo.captured(DESTINATION)
            ended = [("AllTraffic", "InService"), ("Shadow-01", "Stopped")]
            gnomon.wait(lambda: course.instances() == ended, "the instances that are wanted")
            answered = len(traffic.answered)
            gnomon.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
        assert (tmp_path / "killed").exists()
        assert pids(gnomon)["control"] != control
        assert traffic.failures == []

        records = Counter(numbers(captured["AllTraffic"]))
        assert set(records.values()) == {1}
        ends_s = time.monotonic() - time.time() + course.ends_at_s
        surely = [f for f in traffic.answered if running_s < f.began_s and f.ended_s < ends_s - 0.1]
        assert len(surely) > 20
        assert {flight.number for flight in surely} <= set(records)
        assert Counter(numbers(captured["Shadow-01"])) <= records

        (instance,) = (i for i in gnomon.get("/status")["instances"] if i["status"] == "InService")
        expected = {*pids(gnomon).values(), instance_pid(gnomon, instance["id"])}
        assert processes_of(gnomon) == expected


def numbers(records):
    return [int(record["eventMetadata"]["inferenceId"]) for record in records]


def processes_of(gnomon):
    return {
        process.pid
        for process in psutil.Process(gnomon.process.pid).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    }
