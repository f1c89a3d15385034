"""Instances that are no use: they hang, answer pings alone, or exit at their start."""

import time

import psutil
import pytest

from gnomon.testing import reliability
from gnomon.testing.chaos import instance_pid, stopped
from gnomon.testing.processes import IMAGE, ROLE, EchoModels, archive, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic
from gnomon.testing.reliability import Measured, failures, record

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.fault]

# So many threads that those that wait for an instance leave some for the rest.
RATE, THREADS = 10.0, 100
MODEL_TIME_LIMIT_S = 2.0
MUTE_S = 8.0
BROKEN = "raise RuntimeError('no such weights')\n"


@pytest.fixture(scope="module")
def gnomon(tmp_path_factory):
    with running_gnomon(
        tmp_path_factory.mktemp("instances"), GNOMON_ROUTER_DRAIN_IDLE_S="0.2"
    ) as running:
        yield running


def instances(gnomon, endpoint):
    return [
        i["id"]
        for i in gnomon.get("/status")["instances"]
        if (i["endpoint"], i["status"]) == (endpoint, "InService")
    ]


def traffic_on(gnomon, endpoint, rate=RATE, threads=THREADS):
    return RawTraffic(int(gnomon.url.rpartition(":")[2]), endpoint, rate, threads)


def broken_model(echo, name):
    packed = archive(echo.directory / f"{name}.tar.gz", {"code/inference.py": BROKEN})
    echo.sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
        ExecutionRoleArn=ROLE,
    )
    echo.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )


def test_an_instance_that_hangs_is_replaced(echo, gnomon):
    echo.endpoint(count=2)
    victim, other = instances(gnomon, echo.name)
    with traffic_on(gnomon, echo.name) as traffic:
        gnomon.wait(lambda: len(traffic.answered) > 10, "traffic before")
        hung_s = time.monotonic()
        pid = instance_pid(gnomon, victim)
        with stopped(pid):

            def replaced():
                found = instances(gnomon, echo.name)
                return len(found) == 2 and victim not in found

            gnomon.wait(replaced, "another instance")
            whole_s = time.monotonic() - hung_s
            # It cannot end by itself, and would answer what it has if it went on.
            gnomon.wait(lambda: not psutil.pid_exists(pid), "its end")
        answered = len(traffic.answered)
        gnomon.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
    assert other in instances(gnomon, echo.name)
    # Control has taken it out of use by then.
    assert [f for f in traffic.failures if f.began_s > hung_s + whole_s] == []
    measured = Measured([whole_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.INSTANCE_HUNG, measured)


def test_an_instance_that_answers_pings_alone_is_ejected_and_comes_back(tmp_path):
    mute = tmp_path / "mute"
    with running_gnomon(
        tmp_path / "g",
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
        GNOMON_ROUTER_MODEL_TIME_LIMIT_S=str(MODEL_TIME_LIMIT_S),
    ) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "mute")
        echo.endpoint(count=2, MUTE=str(mute))
        before = instances(gnomon, "mute")
        with traffic_on(gnomon, "mute") as traffic:
            gnomon.wait(lambda: len(traffic.answered) > 10, "traffic before")
            mute.write_text(before[0])
            began_s = time.monotonic()
            gnomon.wait(lambda: time.monotonic() > began_s + MUTE_S, "its time to be mute")
            mute.unlink()
            cured_s = time.monotonic()
            gnomon.wait(lambda: time.monotonic() > cured_s + 2 * MODEL_TIME_LIMIT_S, "the rest")
        assert instances(gnomon, "mute") == before
    ends_s = [cured_s, *(flight.ended_s for flight in traffic.failures)]
    assert traffic.failures != []
    assert all(began_s < f.ended_s and f.began_s < cured_s for f in traffic.failures)
    # Ejected, it costs less than its half of the requests.
    during = [f for f in traffic.flights if began_s < f.began_s < cured_s]
    assert len(traffic.failures) < len(during) / 2
    measured = Measured([max(ends_s) - cured_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.INSTANCE_MUTE, measured)


def test_a_new_endpoint_whose_model_exits_is_failed_and_says_why(echo, gnomon):
    broken_model(echo, f"{echo.name}-broken")
    began_s = time.monotonic()
    echo.sagemaker.create_endpoint(EndpointName=echo.name, EndpointConfigName=f"{echo.name}-broken")

    def failed():
        found = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
        return found if found["EndpointStatus"] == "Failed" else None

    found = gnomon.wait(failed, "Failed")
    whole_s = time.monotonic() - began_s
    assert found["FailureReason"]
    assert instances(gnomon, echo.name) == []
    record(reliability.EXITS_AT_CREATION, Measured([whole_s]))


def test_an_update_whose_model_exits_leaves_what_serves(echo, gnomon):
    echo.endpoint(count=2)
    broken_model(echo, f"{echo.name}-broken")
    before = instances(gnomon, echo.name)
    with traffic_on(gnomon, echo.name, rate=60.0, threads=6) as traffic:
        gnomon.wait(lambda: len(traffic.answered) > 20, "traffic before")
        began_s = time.monotonic()
        echo.sagemaker.update_endpoint(
            EndpointName=echo.name, EndpointConfigName=f"{echo.name}-broken"
        )

        def back():
            found = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
            return found if found["EndpointStatus"] == "InService" else None

        found = gnomon.wait(back, "InService")
        whole_s = time.monotonic() - began_s
        answered = len(traffic.answered)
        gnomon.wait(lambda: len(traffic.answered) > answered + 20, "traffic after")
    assert found["FailureReason"]
    assert found["EndpointConfigName"] == f"{echo.name}-config"
    assert traffic.failures == []
    assert instances(gnomon, echo.name) == before
    measured = Measured([whole_s], len(traffic.flights), failures(traffic.flights))
    record(reliability.EXITS_AT_UPDATE, measured)
