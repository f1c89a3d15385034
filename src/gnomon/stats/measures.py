"""The measures of a report, each with the sequence that its conditions allow.

- The typical slow-down is the mean of log(shadow / production): the logarithm takes the tail away,
  and pairing what both variants share. Pairs are taken in blocks of time, which answers the rest of
  the dependence, by the asymptotic sequence. A mean in milliseconds gets no interval: a skewed mean
  has none that can be trusted.
- Rates are Bernoulli; of a paired rate only the discordant pairs speak. By setting they are taken
  over blocks, by betting.
- Quantiles are exact by ranks; their factor is that of two sequences at alpha / 2 each.

All take `growth`: the figures if there were so many times the pairs, and these like those. What
margins make of measures is left to `verdict`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from gnomon.model.analysis import AnalysisSettings, Task
from gnomon.stats import sequences
from gnomon.stats.blocks import FRACTION_UNIT, LOG_UNIT, Settled
from gnomon.stats.differences import MORE_PATHS
from gnomon.stats.figures import Inconclusive, Interval, Measure
from gnomon.stats.histogram import bucket_bounds
from gnomon.stats.ranked import Ranked
from gnomon.stats.state import PairState
from gnomon.stats.task_state import difference_bounds

# An asymptotic sequence says nothing of fewer blocks: it is not near its limit.
LEAST_BLOCKS = 100
# With one pair a block and one in a hundred at a deadline 1,000 times as long as the rest, looks
# from 100 ratios on exclude the truth in 18 %, from 1,000 on in 4 % (at 5 %).
LEAST_RATIOS = 1_000
# Production's disagreement with itself is not known from fewer requests.
LEAST_NOISE = 100
# What a path is taken for noise by: production differs from itself there more often than not, at
# this alpha for each path, beside that of the rules.
NOISE_ALPHA = 0.001
_NOISE_SHARE = 0.5

_INDEPENDENT = "assumes independent pairs"
_BLOCKS = "assumes that blocks are longer than runs of slow answers"


def slow_down(state: PairState, blocks: Settled, alpha: float, growth: float = 1.0) -> Measure:
    """The typical slow-down: both variants' geometric means, and the mean log ratio over blocks."""
    latencies = state.latencies
    change: float | None
    interval: Interval | Inconclusive
    if latencies.pairs:
        change, interval = slow_down_of_blocks(blocks, state.block_us, alpha, growth)
    else:
        change = None
        interval = Inconclusive("No pair has an answer of production's that is 2xx.")
    production = shadow = None
    if latencies.pairs:
        typical = latencies.log_production / latencies.pairs / LOG_UNIT
        production = math.exp(typical) / 1000
        shadow = math.exp(typical + latencies.log_ratio / latencies.pairs / LOG_UNIT) / 1000
        change = change if change is not None else shadow / production
    return Measure(
        "slow_down",
        "ms",
        production,
        shadow,
        "factor",
        change,
        interval,
        latencies.pairs,
        f"asymptotic confidence sequence for the mean log ratio of pairs in "
        f"{blocks.ratios_by_block.blocks} blocks of {state.block_us / 1e6:g} s",
        _BLOCKS,
    )


def slow_down_of_blocks(
    blocks: Settled, block_us: int, alpha: float, growth: float = 1.0
) -> tuple[float | None, Interval | Inconclusive]:
    """The mean log ratio of pairs as a factor, and its interval; no factor from too few.

    It is the ratio of two sums over blocks, of log ratios and of how many they are. For the true
    mean m, a block's sum less m times its number is 0 in the mean, whatever the numbers: that is
    what the sequence is of. Blocks have to be as even as LEAST_BLOCKS equal ones: where some have
    nearly all pairs, there are in truth no more than these.
    """
    moments = blocks.ratios_by_block
    ratios = moments.ratios
    squares = moments.ratios_squared.value
    even = ratios * ratios / squares if squares else 0.0
    if even * growth < LEAST_BLOCKS or ratios * growth < LEAST_RATIOS:
        return None, Inconclusive(
            f"There are {moments.blocks} complete blocks of {block_us / 1e6:g} s with {ratios} "
            f"ratios, as even as {math.floor(even)} equal blocks; it takes {LEAST_BLOCKS}, and "
            f"{LEAST_RATIOS} ratios."
        )
    mean = Fraction(moments.log_ratio, ratios)
    # Of the blocks' sums less what the mean makes of their ratios; these add up to nothing.
    spread = (
        moments.log_ratio_squared.value - 2 * mean * moments.product.value + mean * mean * squares
    )
    deviation = math.sqrt(spread / max(1, moments.blocks - 1))
    change = math.exp(mean / LOG_UNIT)
    if spread * moments.blocks < 1:
        return change, Inconclusive("All blocks have the same ratio, which no real latency has.")
    margin = sequences.mean_margin(moments.blocks * growth, alpha)
    margin *= deviation * moments.blocks / ratios / LOG_UNIT
    low, high = mean / LOG_UNIT - margin, mean / LOG_UNIT + margin
    return change, _interval(math.exp(low), math.exp(high), alpha)


def mean_latency(state: PairState) -> Measure:
    """The mean in milliseconds, which has no interval."""
    production, shadow = _latencies(state)
    means = [_mean(ranked) for ranked in (production, shadow)]
    known = None not in means and means[0]
    return Measure(
        "mean",
        "ms",
        means[0],
        means[1],
        "factor",
        means[1] / means[0] if known and means[1] is not None and means[0] else None,
        Inconclusive("The mean of skewed latencies has no interval that can be trusted."),
        state.latencies.pairs,
        "sum of histograms, a passed deadline at the deadline",
        "",
    )


def quantile(
    name: Literal["p50", "p90", "p99"], state: PairState, alpha: float, growth: float = 1.0
) -> Measure:
    """A quantile of both variants' latencies, and the factor between them."""
    share = int(name[1:]) / 100
    sides = [ranked.grown(growth) for ranked in _latencies(state)]
    estimates = [ranked.quantile(share) for ranked in sides]
    interval: Interval | Inconclusive
    if not sides[0].count:
        interval = Inconclusive("No pair has an answer of production's that is 2xx.")
    else:
        (low, high), (shadow_low, shadow_high) = (
            ranked.interval(share, alpha / 2) for ranked in sides
        )
        bottom = max(0.0, shadow_low) / high if high > 0 else 0.0
        top = shadow_high / low if low > 0 else math.inf
        if bottom == 0 and top == math.inf:
            interval = Inconclusive(f"{sides[0].count} pairs are too few for a {name}.")
        else:
            interval = _interval(bottom, top, alpha)
    production, shadow = estimates
    return Measure(
        name,
        "ms",
        None if production is None else production / 1000,
        None if shadow is None else shadow / 1000,
        "factor",
        shadow / production if production and shadow is not None else None,
        interval,
        state.latencies.pairs,
        "exact sequences for ranks (beta-binomial mixture), at half of alpha each",
        _INDEPENDENT,
    )


def error_rate(
    state: PairState,
    blocks: Settled,
    settings: AnalysisSettings,
    alpha: float,
    growth: float = 1.0,
) -> Measure:
    """The share of answers that are not 2xx."""
    pairs = state.pairs
    if settings.dependence == "blocks":
        interval = _paired_blocks(blocks, alpha, growth)
        if pairs:
            change = (state.only_shadow_failed - state.only_production_failed) / pairs
            interval = _unless_contradicted(interval, change)
        method, assumes = _block_method(state), _BLOCKS
    else:
        interval = _paired(
            state.only_production_failed * growth,
            state.only_shadow_failed * growth,
            pairs * growth,
            alpha,
        )
        method = "exact sequences for discordant pairs (Bernoulli mixture), at half of alpha each"
        assumes = _INDEPENDENT
    known = pairs > 0
    return Measure(
        "error_rate",
        "share",
        (state.only_production_failed + state.both_failed) / pairs if known else None,
        (state.only_shadow_failed + state.both_failed) / pairs if known else None,
        "difference",
        (state.only_shadow_failed - state.only_production_failed) / pairs if known else None,
        interval,
        pairs,
        method,
        assumes,
    )


def disagreement(
    state: PairState,
    blocks: Settled,
    settings: AnalysisSettings,
    alpha: float,
    growth: float = 1.0,
) -> Measure:
    """The share of answers that differ, beyond that of production's with itself.

    Paths that are noise (`noise_paths`) are left out of both. Which they are is learnt from the
    data, and is right for each at alpha 0.001, beside that of the interval.
    """
    answers, noise = state.answers, state.noise
    compared = answers.compared
    ignored = noise_paths(state)
    differ = answers.differing.pairs_outside(ignored) if ignored else answers.differ
    noise_differ = noise.differing.pairs_outside(ignored) if ignored else noise.differ
    by_blocks = settings.dependence == "blocks"
    interval: Interval | Inconclusive
    if not compared:
        interval = Inconclusive("No pair could be compared.")
    elif settings.noise_share > 0 and noise.compared * growth < LEAST_NOISE:
        interval = Inconclusive(
            f"Production answered {noise.compared} requests twice, and it takes {LEAST_NOISE} to "
            "know what is noise."
        )
    elif differ is None or noise_differ is None:
        interval = Inconclusive(
            "Answers differ in too many ways at once to tell noise from the rest: name the paths "
            "that mean nothing in ignored_paths."
        )
    elif by_blocks and ignored:
        interval = Inconclusive(
            "Noise cannot be told by path over blocks: name the paths that mean nothing in "
            "ignored_paths."
        )
    else:
        each = alpha / 2 if noise.compared else alpha
        if by_blocks:
            low, high = _bounded(blocks.differ, each, growth)
        else:
            low, high = sequences.rate(differ * growth, compared * growth, each)
        if noise.compared:
            noise_low, noise_high = sequences.rate(
                noise_differ * growth, noise.compared * growth, each
            )
            low, high = low - noise_high, high - noise_low
        interval = _interval(low, high, alpha)
        if by_blocks:
            own = noise_differ / noise.compared if noise.compared else 0.0
            interval = _unless_contradicted(interval, differ / compared - own)
    noise_share = None
    if noise.compared and noise_differ is not None:
        noise_share = noise_differ / noise.compared
    share = differ / compared if compared and differ is not None else None
    return Measure(
        "disagreement",
        "share",
        noise_share,
        share,
        "difference",
        None if share is None else share - (noise_share or 0.0),
        interval,
        compared,
        _block_method(state) if by_blocks else "exact sequence (Bernoulli mixture)",
        _BLOCKS if by_blocks else _INDEPENDENT,
    )


def noise_paths(state: PairState) -> frozenset[str]:
    """Paths at which production differs from itself more often than not: nothing is told there."""
    noise = state.noise
    return frozenset(
        path
        for path, counted in noise.differing.paths.items()
        if path != MORE_PATHS
        and sequences.rate(min(counted.times, noise.compared), noise.compared, NOISE_ALPHA)[0]
        > _NOISE_SHARE
    )


def task_measure(state: PairState, task: Task, alpha: float) -> Measure | None:
    """How far the predictions agree: labels by their share, numbers by the median difference."""
    if task == "classification":
        confusion = state.task.confusion
        share = confusion.agreeing / confusion.pairs if confusion.pairs else None
        return Measure(
            "agreement",
            "share",
            None,
            None,
            "difference",
            share,
            _interval(*sequences.rate(confusion.agreeing, confusion.pairs, alpha), alpha)
            if confusion.pairs
            else Inconclusive("No pair has labels in both answers."),
            confusion.pairs,
            "exact sequence (Bernoulli mixture)",
            _INDEPENDENT,
        )
    if task == "regression":
        numbers = state.task.numbers
        ranked = Ranked.of(numbers.differences, difference_bounds, unordered=numbers.not_finite)
        low, high = ranked.interval(0.5, alpha)
        finite = numbers.pairs - numbers.not_finite
        return Measure(
            "median_difference",
            "value",
            None,
            None,
            "difference",
            ranked.quantile(0.5),
            _interval(low, high, alpha)
            if math.isfinite(low) or math.isfinite(high)
            else Inconclusive(
                f"{finite} pairs with finite numbers, and {numbers.not_finite} without, are too "
                "few for a median."
            ),
            numbers.pairs,
            "exact sequence for ranks (beta-binomial mixture)",
            _INDEPENDENT,
        )
    return None


def _latencies(state: PairState) -> tuple[Ranked, Ranked]:
    """Production's and the shadow's, in microseconds; a passed deadline is beyond all others."""
    latencies = state.latencies
    return (
        Ranked.of(latencies.production, _latency_bounds),
        Ranked.of(
            latencies.shadow,
            _latency_bounds,
            above=latencies.deadlines,
            above_value=latencies.deadline_us or math.inf,
        ),
    )


def _latency_bounds(bucket: int) -> tuple[int, int]:
    """The least and the greatest latency of a bucket, which are whole microseconds."""
    low, above = bucket_bounds(bucket)
    return low, above - 1


def _mean(ranked: Ranked) -> float | None:
    if not ranked.count:
        return None
    before, total = 0, ranked.above * ranked.above_value if ranked.above else 0.0
    for low, high, end in zip(ranked.lows, ranked.highs, ranked.ends, strict=True):
        total += (low + high) / 2 * (end - before)
        before = end
    return total / ranked.count / 1000


def _paired(
    only_production: float, only_shadow: float, pairs: float, alpha: float
) -> Interval | Inconclusive:
    """Shadow's rate minus production's, from the pairs of which one succeeded and one failed.

    Pairs that agree say nothing of the difference. It is d (2 theta - 1), with d the rate of
    discordant pairs and theta the share of these in which the shadow failed; both sequences hold
    at once (union bound, alpha / 2 each).
    """
    if not pairs:
        return Inconclusive("There are no pairs.")
    discordant = only_production + only_shadow
    rate_low, rate_high = sequences.rate(discordant, pairs, alpha / 2)
    share_low, share_high = sequences.rate(only_shadow, discordant, alpha / 2)
    low, high = 2 * share_low - 1, 2 * share_high - 1
    return _interval(
        low * (rate_low if low > 0 else rate_high),
        high * (rate_high if high > 0 else rate_low),
        alpha,
    )


def _paired_blocks(blocks: Settled, alpha: float, growth: float) -> Interval | Inconclusive:
    """The same over blocks: each kind of discordant pair as a fraction, at alpha / 2 each."""
    if not blocks.only_shadow_failed:
        return Inconclusive("No block is complete.")
    low, high = _bounded(blocks.only_production_failed, alpha / 2, growth)
    shadow_low, shadow_high = _bounded(blocks.only_shadow_failed, alpha / 2, growth)
    return _interval(shadow_low - high, shadow_high - low, alpha)


def _unless_contradicted(
    interval: Interval | Inconclusive, change: float
) -> Interval | Inconclusive:
    """The interval, unless pairs as a whole are beyond it: it is of blocks that weigh the same, and
    where busy ones fail more often that is not what a user has of them.
    """
    if isinstance(interval, Inconclusive):
        return interval
    low, high = interval.low, interval.high
    if low is not None and high is not None and low <= change <= high:
        return interval
    return Inconclusive(
        "Blocks with many pairs are unlike those with few, and say nothing of all pairs: make them "
        "longer (block_s), so that busy times are in each."
    )


def _bounded(fractions: dict[int, int], alpha: float, growth: float) -> tuple[float, float]:
    counts: dict[tuple[float, float], float] = {}
    for bucket, blocks in fractions.items():
        low, above = bucket_bounds(bucket)
        # Fractions were rounded to the unit.
        edges = max(0.0, (low - 0.5) / FRACTION_UNIT), min(1.0, (above - 0.5) / FRACTION_UNIT)
        counts[edges] = blocks * growth
    return sequences.bounded_mean(counts, alpha)


def _block_method(state: PairState) -> str:
    return f"betting sequences for fractions of blocks of {state.block_us / 1e6:g} s"


def _interval(low: float, high: float, alpha: float) -> Interval:
    return Interval(
        low if math.isfinite(low) else None, high if math.isfinite(high) else None, 1 - alpha
    )
