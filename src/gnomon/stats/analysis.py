"""From what is kept of an experiment's pairs to all that a report says of them.

The one way in for reports, guardrails and the API: `summarise`. It takes no time that depends on
the number of pairs.
"""

from __future__ import annotations

import math
from fractions import Fraction

from gnomon.model.analysis import AnalysisSettings, Task
from gnomon.stats import measures
from gnomon.stats.blocks import Settled
from gnomon.stats.figures import (
    Analysis,
    ConfusionCell,
    Inconclusive,
    Measure,
    PathDifference,
    Quantile,
    RegressionFigures,
    WorstPair,
)
from gnomon.stats.histogram import bucket_bounds
from gnomon.stats.ranked import Ranked
from gnomon.stats.state import Answers, PairState, Sizes
from gnomon.stats.tallies import Worst
from gnomon.stats.task_state import Numbers, difference_bounds
from gnomon.stats.verdict import Circumstances, judge

_QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


def summarise(
    state: PairState, settings: AnalysisSettings, circumstances: Circumstances
) -> Analysis:
    """The analysis of a merged state; measures that no rule is about stand at `alpha` each."""
    blocks = state.settled_with_open()
    task = settings.task or state.task.detected()
    answers = state.answers
    verdict = judge(state, blocks, settings, circumstances)
    numbers = state.task.numbers
    return Analysis(
        pairs=state.pairs,
        complete_s=state.complete_us / 1e6 if state.complete_us and not state.blocks else None,
        compared=answers.compared,
        same=answers.same,
        noise_compared=state.noise.compared,
        task=task,
        verdict=verdict,
        measures=_measures(state, blocks, settings, task),
        production_outcomes=dict(sorted(state.production_outcomes.items())),
        shadow_outcomes=dict(sorted(state.shadow_outcomes.items())),
        unknown=dict(sorted(answers.unknown.items())),
        raised=state.raised[1],
        differences=_differences(answers, state.noise, measures.noise_paths(state)),
        paths_are_cut=answers.differing.is_cut,
        confusion=tuple(ConfusionCell(*cell) for cell in state.task.confusion.counts())
        if task == "classification"
        else (),
        labels_are_hashed=state.task.confusion.are_hashed,
        regression=regression_figures(numbers) if task == "regression" else None,
        most_different=_worst(state.most_different),
        most_slowed=tuple(
            WorstPair(pair.event_id, math.exp(pair.score)) for pair in _worst(state.most_slowed)
        ),
    )


def _measures(
    state: PairState, blocks: Settled, settings: AnalysisSettings, task: Task
) -> tuple[Measure, ...]:
    alpha = settings.alpha
    task_measure = measures.task_measure(state, task, alpha)
    return (
        measures.slow_down(state, blocks, alpha),
        measures.mean_latency(state),
        measures.quantile("p50", state, alpha),
        measures.quantile("p90", state, alpha),
        measures.quantile("p99", state, alpha),
        measures.error_rate(state, blocks, settings, alpha),
        measures.disagreement(state, blocks, settings, alpha),
        _median_size(state.sizes),
        *((task_measure,) if task_measure else ()),
    )


def _median_size(sizes: Sizes) -> Measure:
    """Of the answers, in bytes; no rule is about it."""
    sides = [Ranked.of(counts, _size_bounds) for counts in (sizes.production, sizes.shadow)]
    production, shadow = (ranked.quantile(0.5) for ranked in sides)
    return Measure(
        "median_size",
        "bytes",
        production,
        shadow,
        "factor",
        shadow / production if production and shadow is not None else None,
        Inconclusive("Sizes are counted, and not judged."),
        sides[0].count,
        "histogram of pairs whose answers are both 2xx",
        "",
    )


def _size_bounds(bucket: int) -> tuple[int, int]:
    low, above = bucket_bounds(bucket)
    return low, above - 1


def _differences(
    answers: Answers, noise: Answers, noisy: frozenset[str]
) -> tuple[PathDifference, ...]:
    """By path, most first; noise last, for nothing is told there."""
    of_noise = noise.differing.paths
    found = [
        PathDifference(
            path,
            counted.times,
            counted.times / answers.compared,
            tuple(counted.examples),
            (of_noise[path].times if path in of_noise else 0) / noise.compared
            if noise.compared
            else None,
            path in noisy,
        )
        for path, counted in answers.differing.paths.items()
    ]
    return tuple(sorted(found, key=lambda item: (item.is_noise, -item.times, item.path)))


def regression_figures(numbers: Numbers) -> RegressionFigures | None:
    """Moments, exactly; None where no pair has finite numbers."""
    count = numbers.pairs - numbers.not_finite
    if not count:
        return None
    production, shadow = numbers.production.value / count, numbers.shadow.value / count
    variance = numbers.production_squared.value / count - production**2
    shadow_variance = numbers.shadow_squared.value / count - shadow**2
    covariance = numbers.product.value / count - production * shadow
    ranked = Ranked.of(numbers.differences, difference_bounds)
    return RegressionFigures(
        count,
        numbers.not_finite,
        float(production),
        float(shadow),
        float(shadow - production),
        float(numbers.absolute.value / count),
        _correlation(covariance, variance, shadow_variance),
        tuple(
            Quantile(share, value)
            for share in _QUANTILES
            if (value := ranked.quantile(share)) is not None
        ),
    )


def _correlation(covariance: Fraction, variance: Fraction, other: Fraction) -> float | None:
    """None where one of both does not vary, or by no more than its squares were rounded."""
    if variance <= 0 or other <= 0:
        return None
    squared = float(covariance**2 / (variance * other))
    return math.copysign(min(1.0, math.sqrt(squared)), covariance)


def _worst(worst: Worst) -> tuple[WorstPair, ...]:
    return tuple(WorstPair(event_id, score) for score, event_id in worst.pairs)
