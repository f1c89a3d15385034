"""Latency histograms: log-linear buckets of integer counts.

Buckets below `_EXACT` hold one value each; above, every power of two is cut into 64 buckets, so
that a bucket's middle is within 1/128 of any value in it. Counts are integers, so that merging is
exact and the order of merges does not matter. Pure Python on purpose: routers record with it.
Intervals around quantiles are left to the rest of `gnomon.stats`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping

# log2 of the buckets in each power of two: 64 keep the error of a bucket's middle under 0.8 %.
_STEP_BITS = 6
# Values (microseconds) below this have a bucket of their own.
_EXACT = 2 << _STEP_BITS


def bucket_of(value_us: int) -> int:
    """The bucket of a value in microseconds; a negative one counts as 0."""
    if value_us < _EXACT:
        return value_us if value_us > 0 else 0  # noqa: FURB136 - a call costs more here
    shift = value_us.bit_length() - _STEP_BITS - 1
    return (shift << _STEP_BITS) + (value_us >> shift)


def bucket_bounds(index: int) -> tuple[int, int]:
    """The values of a bucket, in microseconds: from the first up to, not including, the second."""
    if index < _EXACT:
        return index, index + 1
    shift = (index >> _STEP_BITS) - 1
    steps = index - (shift << _STEP_BITS)
    return steps << shift, (steps + 1) << shift


@functools.cache
def bucket_middle(index: int) -> float:
    """The middle of a bucket's values, in microseconds. Kept: there are a few thousand buckets, and
    a month's percentiles ask for 200,000 (`scripts/bench compare`).
    """
    low, high = bucket_bounds(index)
    return (low + high - 1) / 2


class Histogram:
    """Counts by bucket. Owned by whoever records; a copy is `Histogram(other.counts)`."""

    __slots__ = ("counts",)

    counts: dict[int, int]

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts = dict(counts) if counts else {}

    @classmethod
    def merged(cls, parts: Iterable[Mapping[int, int]]) -> Histogram:
        """The sum of histograms given as bucket to count."""
        whole = cls()
        for part in parts:
            whole.merge(part)
        return whole

    def record(self, value_us: int) -> None:
        """Count one value in microseconds."""
        index = bucket_of(value_us)
        self.counts[index] = self.counts.get(index, 0) + 1

    def merge(self, other: Histogram | Mapping[int, int]) -> None:
        """Add another histogram's counts to this one's."""
        added = other.counts if isinstance(other, Histogram) else other
        counts = self.counts
        for index, count in added.items():
            counts[index] = counts.get(index, 0) + count

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """The value in microseconds at rank ceil(q * count), within 1 %; None when empty."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {q}")
        total = self.count
        if total == 0:
            return None
        rank = max(1, math.ceil(q * total))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= rank:
                break
        return bucket_middle(index)
