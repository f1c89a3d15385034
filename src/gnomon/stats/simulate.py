"""Calibration by simulation: how often a sequence excludes what is true, and what it costs.

Experiments without a true difference are simulated and looked at after every pair (after every
block, for what rests on blocks): a sequence at alpha may exclude the truth at any time in a share
of alpha of them. The same looks with a t-test stand beside it. `docs/statistics.py` writes both
down, and the tests hold what is gated to the bound.

Looks are worked out for whole arrays of experiments at once; that they are those of `measures` is
tested. Of a difference of two sequences it is counted if either excludes its own truth, which is at
least as often as their difference does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.special import gammaln, ndtri

from gnomon.stats import measures, sequences

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ALPHA = 0.05
PAIRS_PER_BLOCK = 20
# Experiments that are worked out at a time, so that their arrays fit into the processor's caches.
_AT_A_TIME = 8
# A t-test is not looked at before: nobody trusts it earlier.
_FIRST_T_TEST = 100
_T_TEST_Z = float(ndtri(1 - ALPHA / 2))
# In how many pairs the correlation falls to 1/e: a tenth of a block.
_CORRELATION_PAIRS = PAIRS_PER_BLOCK / 10
_CARRIED = math.exp(-1 / _CORRELATION_PAIRS)

ProcessName = Literal["independent", "skewed", "heavy-tailed", "autocorrelated", "bursty"]
PROCESSES: Mapping[ProcessName, str] = {
    "independent": "log ratios are normal, each pair for itself",
    "skewed": "log ratios are exponential, less their mean",
    "heavy-tailed": "log ratios have Student's t distribution with 3 degrees of freedom",
    "autocorrelated": "normal, an autoregressive process whose correlation time is a tenth of a "
    "block",
    "bursty": "normal, in runs of one value whose correlation time is a tenth of a block",
}
_DEPENDENT = frozenset({"autocorrelated", "bursty"})

# Shares of failed and of differing answers, of both variants.
_ERROR_RATE = 0.02
_DISAGREEMENT = 0.10
# Uneven blocks: which part of them is busy, with how many pairs, and their log ratio (a factor of
# 1.5).
_BUSY = 0.1
_BUSY_PAIRS = 100
_BUSY_RATIO = math.log(1.5)
# Blocks of one pair: the part of shadows at a deadline, which is 1,000 times what is usual, and
# what log ratios vary by beside.
_DEADLINES = 0.01
_DEADLINE_RATIO = math.log(1_000)
_SPREAD = 0.3


@dataclass(frozen=True)
class Calibration:
    """In which share of experiments the truth was ever excluded."""

    measure: str
    process: ProcessName
    is_by_blocks: bool
    runs: int
    false_exclusions: float
    t_test: float

    @property
    def is_gated(self) -> bool:
        """Whether the method's conditions hold in the process."""
        return self.is_by_blocks or self.process not in _DEPENDENT


def bound(runs: int) -> float:
    """The most that may be excluded: alpha and three standard errors of so many experiments."""
    return ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


@dataclass(frozen=True)
class Power:
    """After how many pairs a true difference is seen, in half and in four fifths of experiments.

    `fixed_size` is what a test needs that is looked at once and knows beforehand how many pairs to
    take, for four fifths.
    """

    what: str
    half: int
    four_fifths: int
    fixed_size: int


def calibrate(process: ProcessName, runs: int, pairs: int, seed: int) -> list[Calibration]:
    """All measures on one process. `pairs` are whole blocks."""
    names: list[str] = []
    excluded: dict[str, list[tuple[float, float]]] = {}
    by_blocks: dict[str, bool] = {}
    generator = np.random.default_rng(seed)
    for start in range(0, runs, _AT_A_TIME):
        shape = min(_AT_A_TIME, runs - start), pairs
        for name, is_by_blocks, sequence, t_test in _looks(process, generator, shape):
            if name not in excluded:
                names.append(name)
                by_blocks[name] = is_by_blocks
            excluded.setdefault(name, []).append((float(sequence.sum()), float(t_test.sum())))
    return [
        Calibration(
            name,
            process,
            by_blocks[name],
            runs,
            sum(some for some, _ in excluded[name]) / runs,
            sum(some for _, some in excluded[name]) / runs,
        )
        for name in names
    ]


def power(runs: int, seed: int) -> list[Power]:
    """What it takes to see that there is a difference at all, at ALPHA."""
    generator = np.random.default_rng(seed)
    slow_down, deviation = math.log(1.1), math.sqrt(2.0)
    ratios = generator.normal(slow_down, deviation, (runs, 20_000))
    production = generator.random((runs, 20_000)) < 0.01
    shadow = generator.random((runs, 20_000)) < 0.02
    z = float(ndtri(1 - ALPHA / 2) + ndtri(0.8))
    discordant = 0.01 * 0.98 + 0.02 * 0.99
    return [
        _power(
            "a typical slow-down of 10 %, where latencies vary by a factor of e",
            first_look(slow_down_looks(ratios, 0.0)) * PAIRS_PER_BLOCK,
            (z * deviation / slow_down) ** 2,
        ),
        _power(
            "1 point more errors, of 1 %",
            first_look(share_looks(shadow & ~production, production & ~shadow)),
            z * z * discordant / 0.01**2,
        ),
    ]


def _power(what: str, seen_after: Floats, fixed_size: float) -> Power:
    half, four_fifths = np.quantile(seen_after, (0.5, 0.8), method="higher")
    return Power(what, int(half), int(four_fifths), round(fixed_size))


def first_look(excluded: Flags) -> Floats:
    """Of each experiment the number of the first look that excludes; infinite if none does."""
    found: Floats = np.where(excluded.any(axis=1), excluded.argmax(axis=1) + 1, np.inf)
    return found


# --- Streams --------------------------------------------------------------------------------------


def _latent(process: ProcessName, generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Standard normal values that follow each other as the process says."""
    values = generator.standard_normal(shape)
    if process == "autocorrelated":
        values[:, 1:] *= math.sqrt(1 - _CARRIED**2)
        return np.asarray(lfilter([1.0], [1.0, -_CARRIED], values, axis=1))
    if process == "bursty":
        begins = generator.random(shape) >= _CARRIED
        begins[:, 0] = True
        at = np.maximum.accumulate(np.where(begins, np.arange(shape[1]), 0), axis=1)
        return np.take_along_axis(values, at, axis=1)
    return values


def log_ratios(
    process: ProcessName, generator: np.random.Generator, shape: tuple[int, int]
) -> Floats:
    """Log ratios of the mean 0."""
    if process == "skewed":
        return generator.standard_exponential(shape) - 1
    if process == "heavy-tailed":
        return generator.standard_t(3, shape)
    return _latent(process, generator, shape)


# --- Looks: whether each excludes the truth -------------------------------------------------------


def _looks(
    process: ProcessName, generator: np.random.Generator, shape: tuple[int, int]
) -> Iterator[tuple[str, bool, Flags, Flags]]:
    """(measure, is by blocks, whether the sequence ever excluded, whether the t-test did)."""
    ratios = log_ratios(process, generator, shape)
    yield "slow_down", True, _ever(slow_down_looks(ratios, 0.0)), _t_test(ratios)
    # Blocks of one pair are longer than no run.
    yield "slow_down, uneven blocks", False, _uneven(ratios, generator), _t_test(ratios)
    yield "slow_down, blocks of one pair", False, _single(ratios, generator), _t_test(ratios)
    latencies, shadow_latencies = (_latent(process, generator, shape) for _ in range(2))
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        sides = [side <= ndtri(share) for side in (latencies, shadow_latencies)]
        either = [_ever(quantile_looks(side, share, ALPHA / 2)) for side in sides]
        t_test = _t_test(sides[0].astype(np.float32) - sides[1])
        yield name, False, either[0] | either[1], t_test
    failed, shadow_failed = (
        _latent(process, generator, shape) > ndtri(1 - _ERROR_RATE) for _ in range(2)
    )
    only_production, only_shadow = failed & ~shadow_failed, shadow_failed & ~failed
    errors_t_test = _t_test(only_shadow.astype(np.float32) - only_production)
    discordant = only_production | only_shadow
    single = _ERROR_RATE * (1 - _ERROR_RATE)
    yield (
        "error_rate",
        False,
        _ever(rate_looks(discordant, 2 * single, ALPHA / 2))
        | _ever(share_looks(only_shadow, only_production)),
        errors_t_test,
    )
    yield (
        "error_rate by blocks",
        True,
        _ever(block_looks(only_production, single, ALPHA / 2))
        | _ever(block_looks(only_shadow, single, ALPHA / 2)),
        errors_t_test,
    )
    differ = _latent(process, generator, shape) > ndtri(1 - _DISAGREEMENT)
    differ_t_test = _t_test(differ.astype(np.float32) - _DISAGREEMENT)
    yield (
        "disagreement, agreement",
        False,
        _ever(rate_looks(differ, _DISAGREEMENT, ALPHA)),
        differ_t_test,
    )
    yield (
        "disagreement by blocks",
        True,
        _ever(block_looks(differ, _DISAGREEMENT, ALPHA)),
        differ_t_test,
    )
    above = ratios > _median(process)
    yield (
        "median_difference",
        False,
        _ever(quantile_looks(~above, 0.5, ALPHA)),
        _t_test(above.astype(np.float32) - 0.5),
    )


def _median(process: ProcessName) -> float:
    return math.log(2) - 1 if process == "skewed" else 0.0


def slow_down_looks(ratios: Floats, truth: float, alpha: float = ALPHA) -> Flags:
    """By block, whether the mean log ratio is not `truth`, where blocks have PAIRS_PER_BLOCK."""
    sizes = np.full(ratios.shape[1] // PAIRS_PER_BLOCK, PAIRS_PER_BLOCK)
    return block_sum_looks(ratios, sizes, truth, alpha)


def block_sum_looks(
    ratios: Floats, sizes: npt.NDArray[np.int_], truth: float, alpha: float = ALPHA
) -> Flags:
    """The same for blocks of these numbers of pairs (`measures.slow_down_of_blocks`)."""
    ends = np.cumsum(sizes)
    total = np.cumsum(ratios, axis=1)[:, ends - 1]
    sums = np.diff(total, axis=1, prepend=0.0)
    count = np.arange(1, len(sizes) + 1)
    squares = np.cumsum(sizes * sizes)
    mean = total / ends
    spread = (
        np.cumsum(sums * sums, axis=1)
        - 2 * mean * np.cumsum(sizes * sums, axis=1)
        + mean * mean * squares
    )
    deviation = np.sqrt(np.maximum(spread, 0.0) / np.maximum(count - 1, 1))
    margin = np.array([sequences.mean_margin(t, alpha) for t in count.tolist()]) * count / ends
    excluded: Flags = np.abs(mean - truth) > deviation * margin
    is_early = (ends * ends < measures.LEAST_BLOCKS * squares) | (ends < measures.LEAST_RATIOS)
    excluded[:, is_early] = False
    return excluded


def _uneven(ratios: Floats, generator: np.random.Generator) -> Flags:
    """One block in ten is busy, has a hundred pairs, and is slow; the others have one pair."""
    sizes = np.where(generator.random(ratios.shape[1]) < _BUSY, _BUSY_PAIRS, 1)
    sizes = sizes[np.cumsum(sizes) <= ratios.shape[1]]
    is_busy = np.repeat(sizes > 1, sizes)
    ratios = ratios[:, : len(is_busy)] + _BUSY_RATIO * is_busy
    pairs = _BUSY * _BUSY_PAIRS
    truth = _BUSY_RATIO * pairs / (pairs + 1 - _BUSY)
    return _ever(block_sum_looks(ratios, sizes, truth))


def _single(ratios: Floats, generator: np.random.Generator) -> Flags:
    """One pair in each block, and some shadows at a deadline."""
    late = generator.random(ratios.shape) < _DEADLINES
    ratios = _SPREAD * ratios + _DEADLINE_RATIO * late
    sizes = np.ones(ratios.shape[1], dtype=np.int_)
    return _ever(block_sum_looks(ratios, sizes, _DEADLINES * _DEADLINE_RATIO))


def quantile_looks(at_or_below: Flags, share: float, alpha: float) -> Flags:
    """By pair, whether ranks exclude the true quantile (`sequences.ranks`)."""
    nu = sequences.TUNED_FOR_PAIRS / sequences.tuning(alpha)
    return _mixture_looks(at_or_below, share, share * nu, (1 - share) * nu, alpha)


def rate_looks(successes: Flags, truth: float, alpha: float) -> Flags:
    """By pair, whether the rate is not `truth` (`sequences.rate`)."""
    return _mixture_looks(successes, truth, 0.5, 0.5, alpha)


def _mixture_looks(successes: Flags, rate: float, a: float, b: float, alpha: float) -> Flags:
    hits = np.cumsum(successes, axis=1, dtype=np.int32)
    trials = np.arange(1, successes.shape[1] + 1)
    of_hits, of_misses, of_trials = _tables(successes.shape[1], rate, a, b, alpha)
    excluded: Flags = of_hits[hits] + of_misses[trials - hits] >= of_trials[trials]
    return excluded


def share_looks(ones: Flags, others: Flags) -> Flags:
    """By pair, whether ones are more or fewer than others among both (`measures.error_rate`)."""
    some, rest = (np.cumsum(flags, axis=1, dtype=np.int32) for flags in (ones, others))
    of_some, of_rest, of_both = _tables(ones.shape[1], 0.5, 0.5, 0.5, ALPHA / 2)
    excluded: Flags = of_some[some] + of_rest[rest] >= of_both[some + rest]
    return excluded


def _tables(
    most: int, rate: float, a: float, b: float, alpha: float
) -> tuple[Floats, Floats, Floats]:
    """The beta mixture's logarithm in three parts: of hits, of misses, and what it takes."""
    count = np.arange(most + 1)
    hits = gammaln(a + count) - gammaln(a) - count * math.log(rate)
    misses = gammaln(b + count) - gammaln(b) - count * math.log1p(-rate)
    trials = gammaln(a + b + count) - gammaln(a + b) + math.log(1 / alpha)
    return hits, misses, trials


def block_looks(flags: Flags, truth: float, alpha: float) -> Flags:
    """By block, whether the mean of fractions is not `truth` (`sequences.bounded_mean`)."""
    runs, pairs = flags.shape
    counts = flags.reshape(runs, pairs // PAIRS_PER_BLOCK, PAIRS_PER_BLOCK).sum(axis=2)
    fractions = np.arange(PAIRS_PER_BLOCK + 1) / PAIRS_PER_BLOCK
    excluded: Flags = np.zeros(counts.shape, dtype=np.bool_)
    for values, mean in ((fractions, truth), (1 - fractions, 1 - truth)):
        growth = sequences.log_growth(values, mean)
        capital = np.zeros(counts.shape)
        for of_bet in growth:
            capital += np.exp(np.minimum(np.cumsum(of_bet[counts], axis=1), 500.0))
        excluded[capital / len(growth) >= 2 / alpha] = True
    return excluded


def _t_test(values: npt.NDArray[np.floating[Any]]) -> Flags:
    """Whether a t-test ever excludes that the mean is 0, looked at after every pair.

    Single precision is enough for what is wrong in half of all experiments.
    """
    values = values.astype(np.float32)
    count = np.arange(1, values.shape[1] + 1, dtype=np.float32)
    total = np.cumsum(values, axis=1)
    total *= total
    spread = np.cumsum(values * values, axis=1) - total / count
    spread *= _T_TEST_Z**2 * count / np.maximum(count - 1, 1)
    excluded = np.asarray(total > spread)
    return _ever(excluded[:, _FIRST_T_TEST - 1 :])


def _ever(excluded: Flags) -> Flags:
    """By experiment, whether any look excluded."""
    return np.asarray(excluded.any(axis=1))
