"""Shadows have a lower CPU weight, production has not; without privileges, as most users run it."""

import multiprocessing
import os
import time

import psutil
import pytest

from gnomon.testing.chaos import instance_pid
from gnomon.testing.processes import EchoModels, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Root may take nice back; without these capabilities it is as any user in that.
UNPRIVILEGED = ("setpriv", "--bounding-set=-sys_nice,-sys_admin") if os.geteuid() == 0 else ()
CORES = os.cpu_count()
SPIN_S = 3.0
# What the tests run at, and so everything that they start.
NORMAL = os.nice(0)


@pytest.fixture(scope="module")
def gnomon(tmp_path_factory):
    with running_gnomon(
        tmp_path_factory.mktemp("weights"), wrapper=UNPRIVILEGED, GNOMON_ROUTER_DRAIN_IDLE_S="0.2"
    ) as running:
        yield running


def instances(gnomon, endpoint, variant):
    return [
        i
        for i in gnomon.get("/status")["instances"]
        if (i["endpoint"], i["variant"], i["status"]) == (endpoint, variant, "InService")
    ]


def nice_values(gnomon, instance):
    """Nice of the instance's first process, and of its session's autogroup where there are any."""
    pid = instance_pid(gnomon, instance["id"])
    try:
        with open(f"/proc/{pid}/autogroup") as file:
            group = int(file.read().rpartition("nice")[2])
    except OSError:
        group = None
    return psutil.Process(pid).nice(), group


def test_a_promoted_shadow_ends_at_normal_weight_and_no_request_fails(gnomon, tmp_path):
    echo = EchoModels(gnomon, tmp_path, "weight")
    echo.endpoint()
    echo.model("weight-shad")
    echo.experiment(50, shadow_count=2)
    (production,) = instances(gnomon, "weight", "AllTraffic")
    shadows = instances(gnomon, "weight", "Shadow-01")
    assert nice_values(gnomon, production)[0] == NORMAL
    assert [nice_values(gnomon, shadow) for shadow in shadows] in (
        [(10, 10)] * 2,
        [(10, None)] * 2,
    )
    assert (production["light"], [shadow["light"] for shadow in shadows]) == (False, [True] * 2)
    assert gnomon.get("/status")["light"].startswith("nice 10")
    port = int(gnomon.url.rpartition(":")[2])
    with RawTraffic(port, "weight", rate=100.0) as traffic:
        echo.stop(shadow="Promote", production="Remove")

        def is_replaced():
            serving = instances(gnomon, "weight", "Shadow-01")
            return len(serving) == 2 and not any(i["light"] for i in serving) and serving

        serving = gnomon.wait(is_replaced, "instances of normal weight")
        answered = len(traffic.answered)
        gnomon.wait(lambda: len(traffic.answered) > answered + 50, "traffic after")
    assert traffic.failures == []
    assert [nice_values(gnomon, instance) for instance in serving] in (
        [(NORMAL, 0)] * 2,
        [(NORMAL, None)] * 2,
    )


def spin(seconds):
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pass
    return time.process_time()


def test_a_shadow_that_burns_every_core_leaves_production_its_own(gnomon, tmp_path):
    echo = EchoModels(gnomon, tmp_path, "burning")
    echo.endpoint()
    echo.model("burning-shad", BURNS=str(2 * CORES))
    echo.experiment(100)
    (shadow,) = instances(gnomon, "burning", "Shadow-01")
    leader = instance_pid(gnomon, shadow["id"])
    port = int(gnomon.url.rpartition(":")[2])

    def burnt_s():
        family = [psutil.Process(leader), *psutil.Process(leader).children(recursive=True)]
        assert len(family) == 1 + 2 * CORES
        return sum(sum(process.cpu_times()[:2]) for process in family)

    # What is of normal weight and wants all cores, as production under load would.
    with RawTraffic(port, "burning", rate=50.0) as traffic, multiprocessing.Pool(CORES) as pool:
        before_s = burnt_s()
        normal_s = sum(pool.map(spin, [SPIN_S] * CORES, chunksize=1))
        light_s = burnt_s() - before_s
    assert traffic.failures == []
    assert len(traffic.answered) > 50
    # By weights 1024 to 110; at equal weight the shadow, with twice as many processes, had more.
    assert normal_s / (normal_s + light_s) > 0.7
    assert echo.report()["production"]["errors_5xx"] == 0
