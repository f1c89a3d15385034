"""The figures of a report, as they go into its JSON. What cannot be known is said, not made up."""

from __future__ import annotations

from typing import Literal

import msgspec

from gnomon.model.analysis import Task

RuleName = Literal["slow_down", "error_rate", "disagreement", "p99"]
RuleState = Literal["met", "broken", "open"]
VerdictStatus = Literal["ready", "not_ready", "undecided"]


class Interval(msgspec.Struct, frozen=True, tag="interval"):
    """Holds at all times at once with probability `confidence`; None is unbounded."""

    low: float | None
    high: float | None
    confidence: float


class Inconclusive(msgspec.Struct, frozen=True, tag="inconclusive"):
    """There is no interval; the reason is for a person."""

    reason: str


class Measure(msgspec.Struct, frozen=True):
    """Both variants' figures, and how the shadow's changes from production's.

    `change` and `interval` are a factor (shadow by production) or a difference (shadow minus
    production) as `compared_by` says. `unit` is that of `production` and `shadow`. `pairs` is how
    many pairs it rests on, `assumes` the condition that the data must meet.
    """

    name: str
    unit: Literal["ms", "share", "value", "bytes"]
    production: float | None
    shadow: float | None
    compared_by: Literal["factor", "difference"]
    change: float | None
    interval: Interval | Inconclusive
    pairs: int
    method: str
    assumes: str


class Rule(msgspec.Struct, frozen=True):
    """One rule of the verdict: `change` is to be at most `margin`.

    `more_pairs` is how many more pairs would settle an open rule if they are like those so far,
    and `more_s` how long they take at the present rate; None where that cannot be foreseen. Where
    too few blocks are complete to foresee it, `more_s` alone is there, for those.
    """

    name: RuleName
    margin: float
    state: RuleState
    reason: str
    may_stay_open: bool
    measure: Measure
    more_pairs: int | None = None
    more_s: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """Whether the shadow is fit to take over; `reasons` are sentences for a person."""

    status: VerdictStatus
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]


class PathDifference(msgspec.Struct, frozen=True):
    """How often answers differ at a path, by the pairs that could be compared.

    `noise_share` is how often production differs from itself there (None: not measured);
    `is_noise` that nothing can be told there.
    """

    path: str
    times: int
    share: float
    examples: tuple[str, ...]
    noise_share: float | None
    is_noise: bool


class ConfusionCell(msgspec.Struct, frozen=True):
    """How often production's label met the shadow's."""

    production: str
    shadow: str
    times: int


class Quantile(msgspec.Struct, frozen=True):
    """A quantile of shadow minus production."""

    share: float
    difference: float


class RegressionFigures(msgspec.Struct, frozen=True):
    """Figures of numeric predictions, over the pairs whose numbers are finite; no intervals."""

    pairs: int
    not_finite: int
    production_mean: float
    shadow_mean: float
    mean_difference: float
    mean_absolute_difference: float
    correlation: float | None
    quantiles: tuple[Quantile, ...]


class WorstPair(msgspec.Struct, frozen=True):
    """A pair that stands out: by how far the answers are apart, or by its slow-down (a factor)."""

    event_id: str
    score: float


class Analysis(msgspec.Struct, frozen=True):
    """All that a report says of an experiment's pairs, which came before `complete_s` (epoch
    seconds): of later ones slow answers may be missing. None where all are there.
    """

    pairs: int
    complete_s: float | None
    compared: int
    same: int
    noise_compared: int
    task: Task
    verdict: Verdict
    measures: tuple[Measure, ...]
    production_outcomes: dict[str, int]
    shadow_outcomes: dict[str, int]
    unknown: dict[str, int]
    # What a user's comparator raised last; empty where it never did.
    raised: str
    differences: tuple[PathDifference, ...]
    # True where there were more paths than are kept apart.
    paths_are_cut: bool
    confusion: tuple[ConfusionCell, ...]
    # True where a KMS key protects the labels: hashes stand in their places.
    labels_are_hashed: bool
    regression: RegressionFigures | None
    most_different: tuple[WorstPair, ...]
    most_slowed: tuple[WorstPair, ...]
