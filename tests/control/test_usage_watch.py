"""What control measures reaches telemetry through the spool, and nothing else is disturbed."""

import contextlib
import errno
import os

import pytest
import structlog

from gnomon.collector.loop import Collector
from gnomon.control.contention import is_contended
from gnomon.control.usage_watch import LOOK_S, UsageParts, UsageWatch
from gnomon.control.watch import Watch
from gnomon.hosting.host import GpuUse
from gnomon.model import metric
from gnomon.settings import HostingSettings, SpoolSettings
from gnomon.spool.incarnation import CONTROL_PREFIX, cut_off_at_s
from gnomon.spool.sealing import FrameOpener
from gnomon.spool.writer import SpoolWriter
from gnomon.store.state.resources import EXPERIMENTS
from gnomon.store.telemetry import queries
from gnomon.testing.analyses import default_analyses
from gnomon.testing.databases import migrated
from gnomon.testing.requests import experiment_request, make_endpoint, make_model

GIB = 1024**3
# Of ml.m5.xlarge.
FULL = 16 * GIB
UTILIZATIONS = (
    metric.CPU_UTILIZATION_BP,
    metric.MEMORY_UTILIZATION_BP,
    metric.DISK_UTILIZATION_BP,
)


class Rig:
    """A watch on a control, and the collector that reads what it spools."""

    def __init__(self, control, directory, telemetry):
        self.cpu_percent = 0.0
        self.remote = set()
        self.failures = []
        self.spools = []
        self.root = directory / "spool"
        self._telemetry = telemetry

        async def no_capture(_id):
            return None

        no_keys = FrameOpener({}.__getitem__)
        self._collector = Collector(
            self.root, telemetry, None, no_capture, default_analyses, no_keys
        )
        self.watch = UsageWatch(
            UsageParts(
                transactions=control.transactions,
                host=control.keeper._parts.host,
                keeper=control.keeper,
                settings=HostingSettings(),
                clock=control.clock,
                cpu_percent=lambda: self.cpu_percent,
                memory_bytes=FULL,
                open_spool=self._open,
                is_local=lambda image: image not in self.remote,
            )
        )

    def _open(self):
        if self.failures:
            raise self.failures.pop()
        self.spools.append(
            SpoolWriter(self.root, f"{CONTROL_PREFIX}1", SpoolSettings(flush_interval_s=0.01))
        )
        return self.spools[-1]

    async def end(self):
        """As `run` does it when it is told to."""
        await self.watch.close()

    async def collected(self, **scope):
        """What telemetry has once the watch has ended."""
        await self.end()
        await self._collector.drain()
        async with self._telemetry.reading() as connection:
            return await queries.metrics(connection, queries.Scope(**scope))


@pytest.fixture
async def rig(control, tmp_path):
    async with migrated("telemetry", tmp_path) as telemetry:
        rig = Rig(control, tmp_path, telemetry)
        yield rig
        await rig.end()


async def the_experiment(control):
    async with control.transactions.database.reading() as connection:
        (found,) = await EXPERIMENTS.all(connection)
    return found


async def running_experiment(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request("test"))
    await control.until_experiment("test", "Running")
    return await the_experiment(control)


async def test_instances_of_both_variants_are_measured_from_their_second_look_on(
    control, machine, rig
):
    experiment = await running_experiment(control)
    await rig.watch.sample()
    assert rig.watch.seen == []
    for instance in machine.instances.values():
        instance.cpu_s += 1000.0
        instance.used_bytes = FULL // 4
    await rig.watch.sample()
    assert {one.record.id for one in rig.watch.seen} == machine.running()

    found = await rig.collected(experiment_id=experiment.id)

    assert {item.instance_id for item in found} == machine.running()
    assert len({item.variant_id for item in found}) == 2
    for item in found:
        assert item.histograms.keys() == set(UTILIZATIONS)
        assert [item.histograms[name].count for name in UTILIZATIONS] == [1, 1, 1]
        assert item.counts[metric.MEMORY_UTILIZATION_BP + metric.SUM_SUFFIX] == 2500
        assert item.counts[metric.DISK_UTILIZATION_BP + metric.SUM_SUFFIX] == 5000
        # A thousand seconds of CPU in less than ten: over a hundred cores.
        assert item.counts[metric.CPU_UTILIZATION_BP + metric.SUM_SUFFIX] > 1_000_000


async def test_gpus_are_measured_where_there_are_some(control, machine, rig):
    await make_endpoint(control)
    for instance in machine.instances.values():
        instance.gpu = GpuUse(80.0, 40.0)
    await rig.watch.sample()
    await rig.watch.sample()
    (one,) = rig.watch.seen
    (item,) = await rig.collected(endpoint_id=one.record.endpoint_id)
    assert item.counts[metric.GPU_UTILIZATION_BP + metric.SUM_SUFFIX] == 8000
    assert item.counts[metric.GPU_MEMORY_UTILIZATION_BP + metric.SUM_SUFFIX] == 4000


async def test_busy_seconds_are_counted_on_the_shadow_while_a_test_runs(control, rig):
    experiment = await running_experiment(control)
    await rig.watch.look()
    rig.cpu_percent = 95.0
    await rig.watch.look()

    (item,) = await rig.collected(experiment_id=experiment.id)

    assert (item.variant_id, item.instance_id) == (experiment.plan.shadow.variant_id, "")
    seconds = item.counts[metric.MACHINE_SECONDS]
    assert 0 < item.counts[metric.MACHINE_BUSY_SECONDS] < seconds
    assert is_contended(item.counts) == (item.counts[metric.MACHINE_BUSY_SECONDS] / seconds > 0.1)


async def test_no_machine_is_looked_at_for_a_test_that_is_elsewhere_or_over(control, rig):
    experiment = await running_experiment(control)
    rig.remote = {experiment.plan.shadow.container.image}
    await rig.watch.look()
    rig.remote = set()
    await control.call(
        "StopInferenceExperiment",
        Name="test",
        ModelVariantActions={"AllTraffic": "Retain", "Shadow-01": "Remove"},
    )
    await control.until_experiment("test", "Completed", "Stopping")
    await rig.watch.look()

    assert await rig.collected(experiment_id=experiment.id) == []
    assert rig.spools == []


async def test_where_nothing_runs_nothing_is_written(rig):
    await rig.watch.look()
    await rig.watch.sample()
    assert not rig.root.exists()


async def test_a_full_disk_is_said_once_and_measuring_goes_on_when_there_is_room(
    control, machine, rig
):
    await make_endpoint(control)
    rig.failures = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))] * 2
    await rig.watch.sample()
    watch = Watch("what instances use", LOOK_S, rig.watch.sample)
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            await watch.once()
    assert [line["event"] for line in said] == ["something is not watched now"]
    (one,) = rig.watch.seen
    (item,) = await rig.collected(endpoint_id=one.record.endpoint_id)
    assert item.histograms[metric.CPU_UTILIZATION_BP].count == 1


def test_control_that_was_killed_is_no_gap_in_the_records(tmp_path):
    for name, is_gap in ((f"{CONTROL_PREFIX}1", False), ("1", True)):
        directory = tmp_path / name
        directory.mkdir()
        with contextlib.suppress(FileNotFoundError):
            assert (cut_off_at_s(directory) is not None) is is_gap
