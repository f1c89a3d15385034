"""CloudWatch's statistics over one period, from what was counted in it.

A period is a `Distribution`: values with their counts, and their exact sum where it was kept beside
a histogram. The definitions are those of the CloudWatch User Guide, "CloudWatch statistics
definitions"; a percentile is the value at rank ceil(p · n), exact for counts and within 1 % for
latencies. Which metric has which values is left to `gnomon.control.metric_catalogue`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gnomon.stats.histogram import bucket_middle

BASIC = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100(?:\.0{1,10})?)", re.ASCII)
_SHORT = re.compile(r"(tm|wm|tc|ts)(\d{1,2}(?:\.\d{1,10})?|100)", re.IGNORECASE | re.ASCII)
_NUMBER = r"\d{1,15}(?:\.\d{1,10})?"
_RANGE = re.compile(
    rf"(TM|WM|TC|TS|PR)\(({_NUMBER})?(%)?:({_NUMBER})?(%)?\)", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class Distribution:
    """`values` maps a value to how often it occurred; empty where nothing was counted."""

    values: Mapping[float, float]
    total: float

    @classmethod
    def of_histogram(cls, counts: Mapping[int, int], total: float | None = None) -> Distribution:
        """From a histogram's buckets; `total` is the exact sum of what it holds, if known."""
        values = {bucket_middle(bucket): count for bucket, count in counts.items()}
        if total is None:
            total = math.fsum(value * count for value, count in values.items())
        return cls(values, total)

    @property
    def count(self) -> float:
        """How many samples there are."""
        return math.fsum(self.values.values())


Statistic = Callable[[Distribution], float | None]


def statistic(name: str) -> Statistic:
    """The statistic of that name, as `Average`, `p99.9`, `tm90` or `PR(:300)`.

    It gives None for an empty period, and where it would average nothing. ValueError for a name
    that CloudWatch does not know.
    """
    if name in _BASIC:
        return _BASIC[name]
    if name.upper() == "IQM":
        return _of_range("TM", _Bounds(25, 75, in_percent=True))
    if found := _PERCENTILE.fullmatch(name):
        share = float(found[1]) / 100
        return lambda period: _quantile(period, share)
    if found := _SHORT.fullmatch(name):
        return _of_range(found[1].upper(), _Bounds(0, float(found[2]), in_percent=True))
    if found := _RANGE.fullmatch(name):
        return _of_range(found[1].upper(), _bounds(name, *found.groups()[1:]))
    raise ValueError(f"{name!r} is no statistic of CloudWatch's")


@dataclass(frozen=True)
class _Bounds:
    """Above `low`, up to `high`: percentages of the samples, or values of theirs."""

    low: float
    high: float
    in_percent: bool


def _bounds(
    name: str, low: str | None, low_unit: str | None, high: str | None, high_unit: str | None
) -> _Bounds:
    units = {unit for unit, bound in ((low_unit, low), (high_unit, high)) if bound is not None}
    if len(units) != 1 or (low_unit and low is None) or (high_unit and high is None):
        raise ValueError(f"{name!r} has bounds that do not go together")
    in_percent = units == {"%"}
    least, most = (0.0, 100.0) if in_percent else (-math.inf, math.inf)
    found = _Bounds(
        least if low is None else float(low), most if high is None else float(high), in_percent
    )
    if found.low >= found.high or (in_percent and found.high > 100):
        raise ValueError(f"{name!r} has bounds that hold nothing")
    return found


def _of_range(kind: str, bounds: _Bounds) -> Statistic:
    if kind == "PR" and bounds.in_percent:
        raise ValueError("PR takes values, not percentages")
    return lambda period: _RANGES[kind](period, bounds) if period.values else None


def _quantile(period: Distribution, share: float) -> float | None:
    if not period.values:
        return None
    rank = max(1.0, math.ceil(share * period.count))
    seen = 0.0
    for value in sorted(period.values):
        seen += period.values[value]
        if seen >= rank:
            return value
    return max(period.values)


def _kept(period: Distribution, bounds: _Bounds) -> Iterator[tuple[float, float]]:
    """The values within bounds, each with how much of its count is; percentages split counts."""
    if not bounds.in_percent:
        for value, count in period.values.items():
            if bounds.low < value <= bounds.high:
                yield value, count
        return
    total = period.count
    first, last = total * bounds.low / 100, total * bounds.high / 100
    seen = 0.0
    for value, count in sorted(period.values.items()):
        inside = min(last, seen + count) - max(first, seen)
        if inside > 0:
            yield value, inside
        seen += count


def _trimmed_count(period: Distribution, bounds: _Bounds) -> float:
    return math.fsum(count for _, count in _kept(period, bounds))


def _trimmed_sum(period: Distribution, bounds: _Bounds) -> float:
    return math.fsum(value * count for value, count in _kept(period, bounds))


def _trimmed_mean(period: Distribution, bounds: _Bounds) -> float | None:
    count = _trimmed_count(period, bounds)
    return _trimmed_sum(period, bounds) / count if count else None


def _winsorized_mean(period: Distribution, bounds: _Bounds) -> float | None:
    low, high = bounds.low, bounds.high
    if bounds.in_percent:
        kept = [value for value, _ in _kept(period, bounds)]
        if not kept:
            return None
        low, high = min(kept), max(kept)
    summed = math.fsum(min(max(value, low), high) * n for value, n in period.values.items())
    return summed / period.count


def _percentile_rank(period: Distribution, bounds: _Bounds) -> float:
    return 100 * _trimmed_count(period, bounds) / period.count


_BASIC: dict[str, Statistic] = {
    "SampleCount": lambda period: period.count if period.values else None,
    "Sum": lambda period: period.total if period.values else None,
    "Average": lambda period: period.total / period.count if period.values else None,
    "Minimum": lambda period: min(period.values, default=None),
    "Maximum": lambda period: max(period.values, default=None),
}
_RANGES: dict[str, Callable[[Distribution, _Bounds], float | None]] = {
    "TM": _trimmed_mean,
    "WM": _winsorized_mean,
    "TC": _trimmed_count,
    "TS": _trimmed_sum,
    "PR": _percentile_rank,
}
