"""Confidence sequences: intervals that hold at all times at once, however often one looks.

Each function gives, for sums over what was seen up to now, the values that are not excluded at
`alpha`; the probability that the true one is ever excluded, at any time, is at most `alpha`, under
the conditions that the function names. What is measured with which is `measures`' to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, lambertw

Floats = npt.NDArray[np.float64]

# For how many pairs, or blocks, sequences that can be tuned are narrowest: fixed in advance.
TUNED_FOR_PAIRS = 10_000
TUNED_FOR_BLOCKS = 1_000
# Steps of a bisection: more than a double has bits.
_STEPS = 60
# Bets as shares of what may be lost: from cautious, for long tests, to bold, for short ones.
_BETS = np.geomspace(0.002, 0.9, 16)


def rate(successes: float, trials: float, alpha: float) -> tuple[float, float]:
    """The probability of a success, from Bernoulli trials: a beta mixture, exact at all times.

    M(p) = B(a+k, b+t-k) / B(a, b) / (p^k (1-p)^(t-k)) with a = b = 1/2 is a nonnegative martingale
    of mean 1, so that it ever reaches 1/alpha with probability alpha at most (Ville's inequality;
    Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric,
    nonasymptotic confidence sequences"). Condition: the trials are independent, given the past,
    with one probability; sums over blocks are not.
    """
    if trials <= 0:
        return 0.0, 1.0
    limit = math.log(1 / alpha)
    prior = betaln(0.5 + successes, 0.5 + trials - successes) - betaln(0.5, 0.5)

    def is_excluded(p: float) -> bool:
        failures = trials - successes
        chance = (successes * math.log(p) if successes else 0.0) + (
            failures * math.log1p(-p) if failures else 0.0
        )
        return bool(prior - chance >= limit)

    middle = successes / trials
    low = _boundary(is_excluded, middle, 0.0) if successes > 0 else 0.0
    high = _boundary(is_excluded, middle, 1.0) if successes < trials else 1.0
    return low, high


def ranks(share: float, trials: int, alpha: float) -> tuple[int, int]:
    """Ranks of the values between which their distribution's `share`-quantile Q lies.

    With the same martingale: a value is at or below Q with probability `share` (with atoms: at
    least, and below Q at most; a fair draw between the two makes it exact). So Q is at least the
    value at the first number of successes that is not excluded, and at most the one after the last
    (Howard and Ramdas 2022, "Sequential estimation of quantiles", Bernoulli 28(3)). Ranks count
    from 1; 0 and `trials` + 1 mean that there is no bound yet. The mixture's a = share * nu and
    b = (1 - share) * nu make it narrowest near TUNED_FOR_PAIRS. Condition: independent values.
    """
    limit = math.log(1 / alpha)

    def is_excluded(k: float) -> bool:
        return bool(log_known_rate(share, k, trials, alpha) >= limit)

    middle = share * trials
    low, high = 0, trials + 1
    if trials and is_excluded(0.0):
        low = math.ceil(_boundary(is_excluded, middle, 0.0))
    if trials and is_excluded(trials):
        high = math.ceil(_boundary(is_excluded, middle, trials))
    return low, high


def log_known_rate(
    share: float, successes: float | Floats, trials: float | Floats, alpha: float
) -> float | Floats:
    """Log of the martingale that says whether `share` can be the rate (see `ranks`)."""
    nu = TUNED_FOR_PAIRS / tuning(alpha)
    a, b = share * nu, (1 - share) * nu
    mixture = betaln(a + successes, b + trials - successes) - betaln(a, b)
    chance = successes * math.log(share) + (trials - successes) * math.log1p(-share)
    return mixture - chance  # type: ignore[no-any-return]  # scipy has no types


def mean_margin(trials: float, alpha: float, tuned_for: float = TUNED_FOR_BLOCKS) -> float:
    """Half the width of the sequence for a mean, in standard deviations: an asymptotic sequence.

    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
    confidence sequences": mean +- deviation * margin. Conditions: values independent, with one
    mean and more than two finite moments; it is true in the limit, and a strongly skewed mean is
    far from its limit for thousands of values. So it is used on logarithms only.
    """
    rho2 = tuning(alpha) / tuned_for
    grown = trials * rho2 + 1
    return math.sqrt(2 * grown * math.log(math.sqrt(grown) / alpha) / (trials * trials * rho2))


def bounded_mean(counts: Mapping[tuple[float, float], float], alpha: float) -> tuple[float, float]:
    """The mean of values between 0 and 1, by betting; exact at all times.

    `counts` has how many values lay within each (low, high). For a mean m, the capital of somebody
    who bets the share c of what a value X may cost on its being above m is the product of
    1 - c + c X/m, a nonnegative martingale if m is the mean; so is the average of such capitals
    over bets fixed in advance, and that of bets on 1 - X (Waudby-Smith and Ramdas, "Estimating
    means of bounded random variables by betting", the grid of constant bets). It ever reaches
    2/alpha with probability alpha/2 at most, each way (Ville). The order of the values does not
    matter, so that counts are enough; bounds of a value that is known within (low, high) only are
    taken where they cost most. Condition: each value's mean, given the past, is m.
    """
    if not counts:
        return 0.0, 1.0
    times = np.array(list(counts.values()), dtype=np.float64)
    lows = np.array([low for low, _ in counts], dtype=np.float64)
    highs = np.array([high for _, high in counts], dtype=np.float64)
    limit = math.log(2 / alpha)

    def bound(values: Floats) -> float:
        """The lowest mean that is not excluded by bets on higher ones."""
        middle = float(np.dot(times, values) / times.sum())
        if middle <= 0:
            return 0.0
        return _boundary(lambda m: log_capital(values, times, m) >= limit, middle, 0.0)

    return bound(lows), 1 - bound(1 - highs)


def log_capital(values: Floats, times: Floats, mean: float) -> float:
    """Log of the average capital of all bets that values exceed `mean`."""
    growth = log_growth(values, mean) @ times
    highest = growth.max()
    return float(highest + np.log(np.mean(np.exp(growth - highest))))


def log_growth(values: Floats, mean: float) -> Floats:
    """By bet and value, the log of what a value makes of the capital."""
    growth: Floats = np.log1p(_BETS[:, None] * (values[None, :] / mean - 1))
    return growth


def _boundary(is_excluded: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where exclusion begins between a point within and one outside; the outer side of it."""
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        if is_excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


@lru_cache(maxsize=64)
def tuning(alpha: float) -> float:
    """rho^2 times the number of values for which a normal mixture is narrowest (same paper)."""
    return float(-lambertw(-(alpha**2) * math.exp(alpha**2 - 1), k=-1).real - 1)
