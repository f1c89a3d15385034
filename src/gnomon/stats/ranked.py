"""Values that are known by bucket only, in order: what stands at a rank, and between which two a
quantile lies.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from gnomon.stats import sequences


@dataclass(frozen=True)
class Ranked:
    """`lows` and `highs` are the buckets' bounds, `ends` the last rank of each.

    `above` further values are beyond all others, at `above_value` at least; `unordered` ones are
    anywhere, so that bounds count them where they cost most.
    """

    lows: tuple[float, ...]
    highs: tuple[float, ...]
    ends: tuple[int, ...]
    above: int = 0
    above_value: float = math.inf
    unordered: int = 0

    @classmethod
    def of(
        cls,
        counts: Mapping[int, int],
        bounds: Callable[[int], tuple[float, float]],
        *,
        above: int = 0,
        above_value: float = math.inf,
        unordered: int = 0,
    ) -> Ranked:
        buckets = sorted(counts)
        edges = [bounds(bucket) for bucket in buckets]
        return cls(
            tuple(low for low, _ in edges),
            tuple(high for _, high in edges),
            tuple(accumulate(counts[bucket] for bucket in buckets)),
            above,
            above_value,
            unordered,
        )

    @property
    def count(self) -> int:
        return (self.ends[-1] if self.ends else 0) + self.above + self.unordered

    def grown(self, growth: float) -> Ranked:
        """As if there were so many times the values, and these like those."""
        return Ranked(
            self.lows,
            self.highs,
            tuple(round(end * growth) for end in self.ends),
            round(self.above * growth),
            self.above_value,
            round(self.unordered * growth),
        )

    def quantile(self, share: float) -> float | None:
        """The middle of the bucket at rank ceil(share * count); None where it is not known."""
        if self.unordered or not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        at = self._place(rank)
        if at is None:
            return self.above_value if math.isfinite(self.above_value) else None
        return (self.lows[at] + self.highs[at]) / 2

    def interval(self, share: float, alpha: float) -> tuple[float, float]:
        """Where the quantile is (`sequences.ranks`), widened by its buckets."""
        low, high = sequences.ranks(share, self.count, alpha)
        return self._lower(low - self.unordered), self._upper(high)

    def _lower(self, rank: int) -> float:
        if rank < 1:
            return -math.inf
        at = self._place(rank)
        return self.above_value if at is None else self.lows[at]

    def _upper(self, rank: int) -> float:
        at = self._place(rank)
        return math.inf if at is None else self.highs[at]

    def _place(self, rank: int) -> int | None:
        """The bucket that has this rank; None beyond them."""
        at = bisect_left(self.ends, rank)
        return at if at < len(self.ends) else None
