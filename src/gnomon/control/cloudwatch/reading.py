"""One metric's datapoints over a time: what GetMetricStatistics and GetMetricData share.

Periods begin at the start that is asked for, rounded down to what is kept at its age. Data older
than a resolution is kept for is not there, as on CloudWatch: one minute for 15 days, 5 minutes for
63, an hour for 455.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.aws.cloudwatch_protocol import InvalidParameterCombination, InvalidParameterValue
from gnomon.control.cloudwatch.catalogue import METRICS, Metric, Part, part_for
from gnomon.control.transactions import Transactions
from gnomon.model.retention import kept_s, step_minutes
from gnomon.settings import MetricSettings
from gnomon.stats.datapoints import Distribution
from gnomon.store.database import Database
from gnomon.store.state.instances import variants_named
from gnomon.store.telemetry.series import Periods, Variant

MINUTE_S = 60
# What CloudWatch takes below a minute; here they show what a minute has.
_HIGH_RESOLUTION = frozenset({1, 5, 10, 20, 30})
_DIMENSIONS = frozenset({"EndpointName", "VariantName"})


@dataclass(frozen=True)
class Window:
    """From `start` up to, not with, `end`, in steps of `period_s`: all in epoch seconds."""

    start: int
    end: int
    period_s: int

    @property
    def points(self) -> int:
        """The most datapoints that it can have."""
        return -(-(self.end - self.start) // self.period_s)

    def at(self, index: int) -> dt.datetime:
        """When a period begins."""
        return dt.datetime.fromtimestamp(self.start + index * self.period_s, dt.UTC)


def window(params: Mapping[str, Any], period_s: int, now_s: float, kept: MetricSettings) -> Window:
    """The window of a request with StartTime and EndTime.

    Raises InvalidParameterValue for a period that is no multiple of a minute, and
    InvalidParameterCombination for a start that is not before the end.
    """
    if period_s not in _HIGH_RESOLUTION and period_s % MINUTE_S:
        raise InvalidParameterValue(
            f"The value {period_s} for parameter Period is invalid. It must be 1, 5, 10, 20, 30, "
            "or a multiple of 60."
        )
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    if start >= end:
        raise InvalidParameterCombination(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    step_s = step_minutes(kept, now_s - start) * MINUTE_S
    return Window(int(start // step_s * step_s), -int(-end // 1), max(period_s, MINUTE_S))


@dataclass(frozen=True)
class Readings:
    """Reads both databases: names are in state, figures in telemetry."""

    transactions: Transactions
    telemetry: Database
    kept: MetricSettings

    def window(self, params: Mapping[str, Any], period_s: int) -> Window:
        """`window` as of now."""
        return window(params, period_s, self.transactions.clock.now_s(), self.kept)

    async def read(
        self, metric: Mapping[str, Any], unit: str | None, of: Window, statistics: Collection[str]
    ) -> tuple[str, Iterator[tuple[dt.datetime, Distribution]]]:
        """The metric's unit and its periods, in order of time; none for what is not known.

        `metric` has Namespace, MetricName and Dimensions; `statistics` is what will be asked of the
        periods.
        """
        known = METRICS.get((metric.get("Namespace", ""), metric.get("MetricName", "")))
        if known is None or unit not in {None, known.unit}:
            return unit or "None", iter(())
        variants = await self._variants(metric.get("Dimensions") or ())
        found = await self._periods(known, variants, of, part_for(statistics))
        return known.unit, ((of.at(index), found[index]) for index in sorted(found))

    async def _periods(
        self, metric: Metric, variants: Sequence[Variant], of: Window, part: Part
    ) -> dict[int, Distribution]:
        oldest_s = self.transactions.clock.now_s() - kept_s(self.kept, of.period_s // MINUTE_S)
        # Whole periods are left out, so that one that is half gone is not shown as half as much.
        gone = max(0, -int((of.start - oldest_s) // of.period_s))
        first = of.start // MINUTE_S
        step = of.period_s // MINUTE_S
        periods = Periods(first + gone * step, -(-of.end // MINUTE_S), step)
        if not variants or periods.from_minute >= periods.to_minute:
            return {}
        async with self.telemetry.reading() as connection:
            found = await metric.read(connection, variants, periods, part=part)
        return {index + gone: distribution for index, distribution in found.items()}

    async def _variants(self, dimensions: Sequence[Mapping[str, str]]) -> list[Variant]:
        """CloudWatch joins by name: every endpoint that ever had it, one after the other."""
        wanted = {dimension["Name"]: dimension["Value"] for dimension in dimensions}
        if wanted.keys() != _DIMENSIONS or len(wanted) != len(dimensions):
            return []
        async with self.transactions.database.reading() as connection:
            named = await variants_named(connection, wanted["EndpointName"], wanted["VariantName"])
        return [Variant(variant.endpoint_id, variant.variant_id) for variant in named]
