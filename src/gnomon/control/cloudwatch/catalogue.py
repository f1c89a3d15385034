"""Which metrics CloudWatch shows of an endpoint's variants, and what they are made of.

Names, units and meanings are Amazon's: SageMaker Developer Guide, "Metrics for monitoring Amazon
SageMaker AI with Amazon CloudWatch". A metric of counts has one sample a request: 1 or 0 for what
was counted or not, 1 / instances for InvocationsPerInstance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model import metric
from gnomon.stats.datapoints import Distribution
from gnomon.store.telemetry import series
from gnomon.store.telemetry.series import Periods, Variant

INVOCATIONS_NAMESPACE = "AWS/SageMaker"
ENDPOINTS_NAMESPACE = "/aws/sagemaker/Endpoints"


# Of a period: the number of samples and their sum; the values, with a sum that may be off by as
# much as they are; or all.
Part = Literal["sums", "values", "all"]

_SUMS = frozenset({"SampleCount", "Sum", "Average"})
_EXACT_SUMS = frozenset({"Sum", "Average"})


def part_for(statistics: Collection[str]) -> Part:
    """What these statistics need of each period."""
    if _SUMS.issuperset(statistics):
        return "sums"
    return "values" if _EXACT_SUMS.isdisjoint(statistics) else "all"


class Metric(Protocol):
    """How a metric is read."""

    @property
    def unit(self) -> str:
        """CloudWatch's word for the unit."""

    async def read(
        self,
        connection: AsyncConnection,
        variants: Collection[Variant],
        periods: Periods,
        *,
        part: Part = "all",
    ) -> dict[int, Distribution]:
        """The index of a period to what was measured in it; empty periods are left out.

        No more than `part` of each need be right.
        """

    async def exists(
        self, connection: AsyncConnection, variant: Variant, since_minute: int
    ) -> bool:
        """Whether anything was measured from a minute on."""


@dataclass(frozen=True)
class Counted:
    """Something of each invocation, which is counted; `samples` makes a period of how much was and
    of how many invocations.
    """

    name: str
    samples: Callable[[float, float], Distribution]
    unit: str = "None"

    async def read(
        self,
        connection: AsyncConnection,
        variants: Collection[Variant],
        periods: Periods,
        *,
        part: Part = "all",  # noqa: ARG002 - there is nothing else
    ) -> dict[int, Distribution]:
        of = await series.counts_by_period(connection, variants, metric.INVOCATIONS, periods)
        counted = of
        if self.name != metric.INVOCATIONS:
            counted = await series.counts_by_period(connection, variants, self.name, periods)
        return {
            period: found
            for period in of.keys() | counted.keys()
            if (found := self.samples(counted.get(period, 0.0), of.get(period, 0.0))).values
        }

    async def exists(
        self, connection: AsyncConnection, variant: Variant, since_minute: int
    ) -> bool:
        return await series.has_counts(connection, variant, metric.INVOCATIONS, since_minute)


@dataclass(frozen=True)
class Measured:
    """Values of a histogram, whose buckets are within 1 %; its sum is exact.

    `per_unit` of what the histogram counts are one of the metric's unit.
    """

    name: str
    unit: str
    per_unit: int = 1

    async def read(
        self,
        connection: AsyncConnection,
        variants: Collection[Variant],
        periods: Periods,
        *,
        part: Part = "all",
    ) -> dict[int, Distribution]:
        sums: dict[int, float] = {}
        if part != "values":
            sums = await series.counts_by_period(
                connection, variants, self.name + metric.SUM_SUFFIX, periods
            )
        if part == "sums":
            # Histograms are many, and long: a month of fine ones takes half a second.
            numbers = await series.counts_by_period(
                connection, variants, self.name + metric.NUMBER_SUFFIX, periods
            )
            return {
                period: _divided(
                    Distribution({sums.get(period, 0.0) / number: number}, sums.get(period, 0.0)),
                    self.per_unit,
                )
                for period, number in numbers.items()
            }
        found = await series.histograms_by_period(connection, variants, self.name, periods)
        return {
            period: _divided(
                Distribution.of_histogram(histogram.counts, sums.get(period)), self.per_unit
            )
            for period, histogram in found.items()
        }

    async def exists(
        self, connection: AsyncConnection, variant: Variant, since_minute: int
    ) -> bool:
        return await series.has_histograms(connection, variant, self.name, since_minute)


def _ones(ones: float, invocations: float) -> Distribution:
    """Of each invocation: whether it was such a one."""
    # An error belongs to an invocation, but may be counted in the minute behind it.
    values = {1.0: ones, 0.0: max(0.0, invocations - ones)}
    return Distribution({value: count for value, count in values.items() if count}, ones)


def _evenly(total: float, invocations: float) -> Distribution:
    """1 / instances of each. Its extremes are its average: instances rarely change in a period."""
    return Distribution({total / invocations: invocations} if invocations else {}, total)


METRICS: dict[tuple[str, str], Metric] = {
    (INVOCATIONS_NAMESPACE, "Invocations"): Counted(metric.INVOCATIONS, _ones),
    (INVOCATIONS_NAMESPACE, "InvocationsPerInstance"): Counted(
        metric.INVOCATIONS_PER_INSTANCE, _evenly
    ),
    (INVOCATIONS_NAMESPACE, "Invocation4XXErrors"): Counted(metric.ERRORS_4XX, _ones),
    (INVOCATIONS_NAMESPACE, "Invocation5XXErrors"): Counted(metric.ERRORS_5XX, _ones),
    (INVOCATIONS_NAMESPACE, "InvocationModelErrors"): Counted(metric.MODEL_ERRORS, _ones),
    (INVOCATIONS_NAMESPACE, "ModelLatency"): Measured(metric.MODEL_LATENCY_US, "Microseconds"),
    (INVOCATIONS_NAMESPACE, "OverheadLatency"): Measured(
        metric.OVERHEAD_LATENCY_US, "Microseconds"
    ),
    (INVOCATIONS_NAMESPACE, "ConcurrentRequestsPerModel"): Measured(
        metric.CONCURRENT_REQUESTS, "None"
    ),
    **{
        (ENDPOINTS_NAMESPACE, shown): Measured(name, "Percent", metric.BP_PER_PERCENT)
        for shown, name in (
            ("CPUUtilization", metric.CPU_UTILIZATION_BP),
            ("MemoryUtilization", metric.MEMORY_UTILIZATION_BP),
            ("DiskUtilization", metric.DISK_UTILIZATION_BP),
            ("GPUUtilization", metric.GPU_UTILIZATION_BP),
            ("GPUMemoryUtilization", metric.GPU_MEMORY_UTILIZATION_BP),
        )
    },
}


def _divided(period: Distribution, by: int) -> Distribution:
    if by == 1:
        return period
    values = {value / by: count for value, count in period.values.items()}
    return Distribution(values, period.total / by)
