"""From what instances use of the machine to CloudWatch's percentages. Pure.

CPU is 100 percent a core, GPUs 100 percent a device; memory is percent of what the instance may
have, disk percent of the disk that its directory lies on.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.hosting.host import Usage
from gnomon.model import metric
from gnomon.model.records import InstanceRecord
from gnomon.spool.frames import MetricDelta
from gnomon.stats.histogram import bucket_of

_MINUTE_S = 60


@dataclass(frozen=True)
class Utilization:
    """What one instance used, in percent: CPU on average since the look before, else at a look.

    The GPU's are None on a machine without GPUs.
    """

    cpu_percent: float
    memory_percent: float
    disk_percent: float
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None


@dataclass(frozen=True)
class Seen:
    """An instance as it was at the last look."""

    record: InstanceRecord
    memory_bytes: int
    used: Utilization


def utilization(before: Usage, now: Usage, memory_bytes: int) -> Utilization:
    """Between two looks at one instance, which may have `memory_bytes`."""
    seconds = now.at_s - before.at_s
    # Processes that nobody waited for took their CPU time with them.
    cpu_s = max(0.0, now.cpu_s - before.cpu_s)
    return Utilization(
        cpu_percent=100 * cpu_s / seconds if seconds > 0 else 0.0,
        memory_percent=100 * now.memory_bytes / memory_bytes,
        disk_percent=now.disk_percent,
        gpu_percent=now.gpu.compute_percent if now.gpu else None,
        gpu_memory_percent=now.gpu.memory_percent if now.gpu else None,
    )


def delta_of(
    record: InstanceRecord, experiment_id: str, minute: int, used: Utilization
) -> MetricDelta:
    """One sample of each metric, for the variant that the instance is of."""
    samples = {
        name: round(percent * metric.BP_PER_PERCENT)
        for name, percent in (
            (metric.CPU_UTILIZATION_BP, used.cpu_percent),
            (metric.MEMORY_UTILIZATION_BP, used.memory_percent),
            (metric.DISK_UTILIZATION_BP, used.disk_percent),
            (metric.GPU_UTILIZATION_BP, used.gpu_percent),
            (metric.GPU_MEMORY_UTILIZATION_BP, used.gpu_memory_percent),
        )
        if percent is not None
    }
    return MetricDelta(
        endpoint_id=record.endpoint_id,
        variant_id=record.variant_id,
        instance_id=record.id,
        experiment_id=experiment_id,
        minute=minute,
        counts={name + metric.SUM_SUFFIX: float(value) for name, value in samples.items()},
        histograms={name: {bucket_of(value): 1} for name, value in samples.items()},
    )


def minute_of(now_s: float, seconds: float) -> int:
    """The minute that the middle of the seconds before `now_s` (epoch seconds) lies in."""
    return int((now_s - seconds / 2) // _MINUTE_S)
