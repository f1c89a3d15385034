"""Whether production and shadow were in each other's way: they share a machine, and it was busy.

Gnomon itself holds the shadow back there, so that its latencies say little of the model. What is
counted, by `gnomon.control.usage_watch`, is on the shadow variant under the test's id; what follows
for a verdict is the report's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gnomon.model import metric
from gnomon.model.records import ExperimentRecord
from gnomon.spool.frames import MetricDelta

# A machine is busy in a second in which more than so much of its CPU is used, in percent.
BUSY_PERCENT = 80.0
# More of a test's seconds than this, and the test is contended.
_BUSY_SHARE = 0.1


def busy_share(counts: Mapping[str, float]) -> float | None:
    """The share of a test's time in which its machine was busy; None where none was looked at.

    `counts` are those of the shadow variant under the test's id, summed.
    """
    seconds = counts.get(metric.MACHINE_SECONDS, 0.0)
    return counts.get(metric.MACHINE_BUSY_SECONDS, 0.0) / seconds if seconds else None


def is_contended(counts: Mapping[str, float]) -> bool:
    """Whether latencies are open for that reason; `counts` as for `busy_share`."""
    share = busy_share(counts)
    return share is not None and share > _BUSY_SHARE


def shares_machine(experiment: ExperimentRecord, is_local: Callable[[str], bool]) -> bool:
    """Whether both variants of a test run on this machine; `is_local` says it of an image."""
    plan = experiment.plan
    return is_local(plan.production.container.image) and is_local(plan.shadow.container.image)


def machine_delta(
    experiment: ExperimentRecord, minute: int, seconds: float, cpu_percent: float
) -> MetricDelta:
    """So many seconds of a test in which so much of the machine's CPU was used."""
    counts = {metric.MACHINE_SECONDS: seconds}
    if cpu_percent > BUSY_PERCENT:
        counts[metric.MACHINE_BUSY_SECONDS] = seconds
    return MetricDelta(
        endpoint_id=experiment.endpoint_id,
        variant_id=experiment.plan.shadow.variant_id,
        instance_id="",
        experiment_id=experiment.id,
        minute=minute,
        counts=counts,
        histograms={},
    )
