"""What the predictions of many pairs have in common: labels by labels, and moments of numbers.

Which of the two readings is the task is decided at the end (`detected`): a whole number may be
either. Kept in any order, merged in any order, the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.model.analysis import Task
from gnomon.stats.exact_sum import ExactSum
from gnomon.stats.predictions import Prediction

# A label is from a closed set; what has more is text or numbers.
MOST_LABELS = 1_000
# Of production's label and the shadow's, different combinations.
_MOST_CELLS = 10_000
# Whole numbers of so many different values at most are taken for labels.
_MOST_NUMERIC_LABELS = 20
_SEPARATOR = "\x1f"
# Steps in each power of two, as latencies have them: 1 % of a difference.
_STEPS = 64
# Below the exponent of the smallest double, so that keys are positive.
_EXPONENT_SHIFT = 1_100


class Confusion(msgspec.Struct):
    """Pairs of predictions that are labels. `cells` is None once the set of labels is not closed.

    `pairs` had labels only, and in `agreeing` of them all were equal. `labels` are those of both;
    with `are_hashed` they are hashes in their places.
    """

    pairs: int = 0
    agreeing: int = 0
    cells: dict[str, int] | None = msgspec.field(default_factory=dict)
    labels: set[str] = set()
    are_hashed: bool = False

    def add(self, predictions: list[tuple[str, str]]) -> None:
        self.pairs += 1
        self.agreeing += all(a == b for a, b in predictions)
        if self.cells is not None:
            for a, b in predictions:
                key = f"{a}{_SEPARATOR}{b}"
                self.cells[key] = self.cells.get(key, 0) + 1
                self.labels.add(a)
                self.labels.add(b)
            self._bound()

    def merge(self, other: Confusion) -> None:
        self.pairs += other.pairs
        self.agreeing += other.agreeing
        self.are_hashed |= other.are_hashed
        if self.cells is None or other.cells is None:
            self._give_up()
            return
        for key, count in other.cells.items():
            self.cells[key] = self.cells.get(key, 0) + count
        self.labels |= other.labels
        self._bound()

    def counts(self) -> list[tuple[str, str, int]]:
        """(production's label, the shadow's, predictions): those that differ before those that
        are equal, most first.
        """
        found = []
        for key, times in (self.cells or {}).items():
            production, _, shadow = key.partition(_SEPARATOR)
            found.append((production, shadow, times))
        return sorted(found, key=lambda cell: (cell[0] == cell[1], -cell[2], *cell[:2]))

    def _bound(self) -> None:
        if len(self.cells or ()) > _MOST_CELLS or len(self.labels) > MOST_LABELS:
            self._give_up()

    def _give_up(self) -> None:
        self.cells = None
        self.labels = set()


class Numbers(msgspec.Struct):
    """Pairs whose predictions are numbers; those of one answer count by their means.

    Sums are exact, over the `pairs - not_finite` pairs whose numbers, and their squares, are
    finite. `differences` counts shadow minus production by bucket (`difference_bounds`).
    """

    pairs: int = 0
    not_finite: int = 0
    whole: int = 0
    production: ExactSum = msgspec.field(default_factory=ExactSum)
    shadow: ExactSum = msgspec.field(default_factory=ExactSum)
    absolute: ExactSum = msgspec.field(default_factory=ExactSum)
    production_squared: ExactSum = msgspec.field(default_factory=ExactSum)
    shadow_squared: ExactSum = msgspec.field(default_factory=ExactSum)
    product: ExactSum = msgspec.field(default_factory=ExactSum)
    differences: dict[int, int] = {}

    def add(self, predictions: list[tuple[float, float]], are_whole: bool) -> None:
        self.pairs += 1
        self.whole += are_whole
        try:
            if len(predictions) == 1:
                a, b = float(predictions[0][0]), float(predictions[0][1])
                gap = abs(b - a)
            else:
                share = 1 / len(predictions)
                a = math.fsum(a for a, _ in predictions) * share
                b = math.fsum(b for _, b in predictions) * share
                gap = math.fsum(abs(b - a) for a, b in predictions) * share
        except (OverflowError, ValueError):  # an integer no float holds; infinities that cancel
            self.not_finite += 1
            return
        if not math.isfinite(a * a + b * b + a * b + gap):
            self.not_finite += 1
            return
        self.production.add(a)
        self.shadow.add(b)
        self.absolute.add(gap)
        self.production_squared.add(a * a)
        self.shadow_squared.add(b * b)
        self.product.add(a * b)
        bucket = difference_bucket(b - a)
        self.differences[bucket] = self.differences.get(bucket, 0) + 1

    def merge(self, other: Numbers) -> None:
        self.pairs += other.pairs
        self.not_finite += other.not_finite
        self.whole += other.whole
        for mine, theirs in zip(self._sums(), other._sums(), strict=True):
            mine.merge(theirs)
        for bucket, count in other.differences.items():
            self.differences[bucket] = self.differences.get(bucket, 0) + count

    def _sums(self) -> tuple[ExactSum, ...]:
        return (
            self.production,
            self.shadow,
            self.absolute,
            self.production_squared,
            self.shadow_squared,
            self.product,
        )


class TaskState(msgspec.Struct):
    """Both readings of what was predicted."""

    confusion: Confusion = msgspec.field(default_factory=Confusion)
    numbers: Numbers = msgspec.field(default_factory=Numbers)

    def add(
        self,
        predictions: tuple[tuple[Prediction, Prediction], ...],
        hashed: Callable[[str], str] | None,
    ) -> None:
        """Count the predictions of one pair; mixed ones say nothing."""
        kinds = {type(value) for pair in predictions for value in pair}
        if kinds in ({str}, {int}):
            labels = [(str(a), str(b)) for a, b in predictions]
            if hashed is not None:
                labels = [(hashed(a), hashed(b)) for a, b in labels]
                self.confusion.are_hashed = True
            self.confusion.add(labels)
        if kinds and kinds <= {int, float}:
            numbers: Any = predictions
            self.numbers.add(numbers, kinds == {int})

    def merge(self, other: TaskState) -> None:
        self.confusion.merge(other.confusion)
        self.numbers.merge(other.numbers)

    def detected(self) -> Task:
        """What most pairs look like; few whole numbers are labels."""
        numbers, labels = self.numbers, self.confusion
        named = labels.pairs - numbers.whole
        if labels.cells is not None and named > numbers.pairs:
            return "classification"
        if not numbers.pairs:
            return "generic"
        if (
            numbers.whole == numbers.pairs
            and labels.cells is not None
            and len(labels.labels) <= _MOST_NUMERIC_LABELS
        ):
            return "classification"
        return "regression"


def difference_bucket(difference: float) -> int:
    """The bucket of a difference whose square is finite; buckets have the order of their values."""
    if difference == 0:
        return 0
    mantissa, exponent = math.frexp(abs(difference))
    bucket = (exponent + _EXPONENT_SHIFT) * _STEPS + int((mantissa - 0.5) * 2 * _STEPS)
    return bucket if difference > 0 else -bucket


def difference_bounds(bucket: int) -> tuple[float, float]:
    """The least and the greatest value of a bucket."""
    if bucket == 0:
        return 0.0, 0.0
    exponent, step = divmod(abs(bucket), _STEPS)
    low = math.ldexp(0.5 + step / (2 * _STEPS), exponent - _EXPONENT_SHIFT)
    high = math.ldexp(0.5 + (step + 1) / (2 * _STEPS), exponent - _EXPONENT_SHIFT)
    return (low, high) if bucket > 0 else (-high, -low)
