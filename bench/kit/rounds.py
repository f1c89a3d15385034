"""Alternating rounds, and what is made of them: medians, and medians of ratios within a round.

On a machine that others use too, what is compared has to be measured side by side: a ratio of two
figures of one round is worth more than either figure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

from bench.kit.report import CannotMeasure

Item = TypeVar("Item")
Result = TypeVar("Result")

# How often something void is measured again before the machine is called too busy.
_TRIES = 4
_RESAMPLES = 2000


def in_turn(items: Sequence[Item], number: int) -> list[Item]:
    """The order in the round with this number: there and back, so that no place is favoured."""
    return list(items) if number % 2 == 0 else list(reversed(items))


def valid(measure: Callable[[], Result], is_void: Callable[[Result], bool], what: str) -> Result:
    """A result that is not void. Raises CannotMeasure if none of a few tries gives one."""
    for _ in range(_TRIES):
        result = measure()
        if not is_void(result):
            return result
    raise CannotMeasure(
        f"{what}, {_TRIES} times in a row. Is the machine busy with something else?"
    )


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of what is above by what is below; both by round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """The bootstrap's 95 % interval of `median_ratio`; the same each time, by a seed."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    generator = random.Random(1)
    found = sorted(median(generator.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    return found[round(0.025 * _RESAMPLES)], found[round(0.975 * _RESAMPLES) - 1]
