import pytest

from gnomon.control.utilization import Utilization, delta_of, minute_of, utilization
from gnomon.hosting.host import GpuUse, Usage
from gnomon.model import metric
from gnomon.stats.histogram import bucket_of
from gnomon.testing.builders import a_variant, an_instance

GIB = 1024**3


def test_cpu_is_a_hundred_percent_a_core_of_the_time_between_two_looks():
    before = Usage(100.0, 50.0, GIB, 40.0)
    now = Usage(110.0, 65.0, 2 * GIB, 41.5)
    assert utilization(before, now, 8 * GIB) == Utilization(150.0, 25.0, 41.5, None, None)


def test_cpu_time_that_went_with_a_process_is_no_negative_use():
    assert utilization(Usage(0.0, 5.0, 1, 0.0), Usage(10.0, 4.0, 1, 0.0), GIB).cpu_percent == 0
    assert utilization(Usage(5.0, 5.0, 1, 0.0), Usage(5.0, 6.0, 1, 0.0), GIB).cpu_percent == 0


def test_gpus_are_shown_where_the_machine_has_some():
    before = Usage(0.0, 0.0, 1, 0.0, GpuUse())
    now = Usage(1.0, 0.0, 1, 0.0, GpuUse(130.0, 75.0))
    used = utilization(before, now, GIB)
    assert (used.gpu_percent, used.gpu_memory_percent) == (130, 75)


def test_each_metric_has_one_sample_with_its_exact_sum():
    record = an_instance(a_variant())
    delta = delta_of(record, "x", 7, Utilization(150.0, 25.004, 41.5))
    assert (
        delta.endpoint_id,
        delta.variant_id,
        delta.instance_id,
        delta.experiment_id,
        delta.minute,
    ) == ("endpoint-id", "variant-AllTraffic", "AllTraffic-1", "x", 7)
    assert delta.counts == {
        metric.CPU_UTILIZATION_BP + metric.SUM_SUFFIX: 15_000,
        metric.MEMORY_UTILIZATION_BP + metric.SUM_SUFFIX: 2500,
        metric.DISK_UTILIZATION_BP + metric.SUM_SUFFIX: 4150,
    }
    assert delta.histograms == {
        metric.CPU_UTILIZATION_BP: {bucket_of(15_000): 1},
        metric.MEMORY_UTILIZATION_BP: {bucket_of(2500): 1},
        metric.DISK_UTILIZATION_BP: {bucket_of(4150): 1},
    }
    with_gpu = delta_of(record, "", 7, Utilization(0.0, 0.0, 0.0, 0.0, 10.0))
    assert with_gpu.counts[metric.GPU_UTILIZATION_BP + metric.SUM_SUFFIX] == 0
    assert with_gpu.counts[metric.GPU_MEMORY_UTILIZATION_BP + metric.SUM_SUFFIX] == 1000


@pytest.mark.parametrize(("now_s", "minute"), [(599.0, 9), (604.9, 9), (605.0, 10), (660.0, 10)])
def test_ten_seconds_belong_to_the_minute_of_their_middle(now_s, minute):
    assert minute_of(now_s, 10.0) == minute
