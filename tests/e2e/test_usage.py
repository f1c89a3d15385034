"""A model that burns CPU under a real Gnomon: CloudWatch says so, and each router has its page."""

import datetime as dt
import socket
import urllib.request

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def metrics_port():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return bound.getsockname()[1]


@pytest.fixture(scope="module")
def gnomon(tmp_path_factory, metrics_port):
    with running_gnomon(
        tmp_path_factory.mktemp("usage"),
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
        GNOMON_HOSTING_STOP_TIME_LIMIT_S="2",
        GNOMON_SERVER_METRICS_PORT=str(metrics_port),
    ) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


def test_a_model_that_burns_cpu_is_seen_through_cloudwatch_and_its_idle_shadow_too(
    gnomon, tmp_path, metrics_port
):
    echo = EchoModels(gnomon, tmp_path, "burning")
    echo.endpoint(BURNS="1")
    echo.model("burning-shad")
    echo.experiment(100)
    echo.invoke("1\n")

    def point(name, variant, namespace="/aws/sagemaker/Endpoints"):
        now = dt.datetime.now(dt.UTC)
        found = gnomon.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[
                {"Name": "EndpointName", "Value": "burning"},
                {"Name": "VariantName", "Value": variant},
            ],
            StartTime=now - dt.timedelta(minutes=5),
            EndTime=now + dt.timedelta(minutes=1),
            Period=3600,
            Statistics=["Average", "SampleCount"],
        )["Datapoints"]
        return found[0] if found else None

    burning = gnomon.wait(lambda: point("CPUUtilization", "AllTraffic"), "its use of the CPU")
    idle = gnomon.wait(lambda: point("CPUUtilization", "Shadow-01"), "its shadow's")
    # One busy process has a core of its own, or a part of one on a machine that is busy.
    assert burning["Average"] > 10
    assert idle["Average"] < burning["Average"] / 2
    assert burning["Unit"] == "Percent"
    for name in ("MemoryUtilization", "DiskUtilization"):
        for variant in ("AllTraffic", "Shadow-01"):
            assert 0 < point(name, variant)["Average"] < 100
    assert gnomon.wait(
        lambda: point("ConcurrentRequestsPerModel", "AllTraffic", "AWS/SageMaker"), "requests"
    )

    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10) as page:
        assert b'gnomon_invocations_total{endpoint="burning",variant="AllTraffic"} 1.0' in (
            page.read()
        )
    with urllib.request.urlopen(f"{gnomon.url}/metrics", timeout=10) as page:
        assert b'gnomon_instance_cpu_cores{endpoint="burning"' in page.read()
    # It ends in order, though control has an incarnation in the spool, for which nobody waits.
    echo.stop()
