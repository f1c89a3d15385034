import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from gnomon.stats import sequences

ALPHA = 0.05


def log_martingale(p, k, t):
    """The mixture by its definition: the beta prior integrated over the likelihood ratio."""

    def ratio(q):
        return math.exp(k * math.log(q / p) + (t - k) * math.log((1 - q) / (1 - p)))

    def density(q):
        return stats.beta.pdf(q, 0.5, 0.5) * ratio(q)

    found, _ = integrate.quad(density, 0, 1, limit=500, points=[k / t, 1e-4, 1 - 1e-4])
    return math.log(found)


@pytest.mark.parametrize(("k", "t"), [(3, 40), (20, 40), (39, 40), (1, 200)])
def test_a_rates_bounds_are_where_the_martingale_reaches_its_limit(k, t):
    for bound in sequences.rate(k, t, ALPHA):
        assert log_martingale(bound, k, t) == pytest.approx(math.log(1 / ALPHA), abs=1e-4)


@settings(deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 100_000), st.floats(1e-4, 0.4))
def test_a_rate_lies_around_what_was_seen_and_is_wider_than_a_fixed_interval(some, more, alpha):
    trials = some + more
    low, high = sequences.rate(some, trials, alpha)
    if not trials:
        assert (low, high) == (0, 1)
        return
    fixed = stats.binomtest(some, trials).proportion_ci(1 - alpha, method="wilson")
    assert 0 <= low <= some / trials <= high <= 1
    assert high - low >= 0.99 * (fixed.high - fixed.low) or some in (0, trials)


def test_a_rate_without_successes_has_no_lower_bound_but_zero():
    low, high = sequences.rate(0, 1000, ALPHA)
    assert low == 0
    assert 0.003 < high < 0.02
    assert sequences.rate(1000, 1000, ALPHA) == (pytest.approx(1 - high), 1)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("trials", [10, 1_000, 20_000, 1_000_000])
def test_ranks_are_the_first_and_last_that_the_martingale_does_not_exclude(share, trials):
    low, high = sequences.ranks(share, trials, ALPHA)
    limit = math.log(1 / ALPHA)

    def is_excluded(k):
        return sequences.log_known_rate(share, k, trials, ALPHA) >= limit

    # Q is at least the value at rank `low`: so many values at or below it is the fewest possible.
    assert low <= share * trials <= high
    assert not is_excluded(min(low + 1, trials))
    assert low == 0 or is_excluded(low - 1)
    assert not is_excluded(high - 1)
    assert high == trials + 1 or is_excluded(high)


def test_no_values_have_no_ranks():
    assert sequences.ranks(0.5, 0, ALPHA) == (0, 1)


def test_ranks_tune_for_the_sample_size_that_they_are_to_be_narrowest_at():
    def width(trials):
        low, high = sequences.ranks(0.5, trials, ALPHA)
        # By a fixed-size interval's.
        return (high - low) / (2 * 1.96 * math.sqrt(trials) / 2)

    tuned = width(sequences.TUNED_FOR_PAIRS)
    assert tuned < min(width(100), width(3_000_000))
    assert 1.2 < tuned < 1.8


def test_a_means_margin_is_that_of_the_papers_authors():
    # WannabeSmith/drconfseq, R/asymptotic_confseq.R: std_conjmix_margin, with the rho^2 for t_opt,
    # whose closed form is within 0.01 % of the least margin.
    rho2 = optimize.minimize_scalar(
        lambda rho2: (1000 * rho2 + 1) / rho2 * math.log(math.sqrt(1000 * rho2 + 1) / ALPHA),
        bounds=(1e-6, 1),
        method="bounded",
        options={"xatol": 1e-12},
    ).x
    for t in (100, 1000, 50_000):
        expected = math.sqrt(
            2 * (t * rho2 + 1) * math.log(math.sqrt(t * rho2 + 1) / ALPHA) / (t**2 * rho2)
        )
        assert sequences.mean_margin(t, ALPHA) == pytest.approx(expected, rel=2e-4)


def test_a_bounded_mean_is_where_the_average_of_all_bets_reaches_its_limit():
    generator = np.random.default_rng(1)
    values = np.round(generator.beta(2, 30, 500), 6)
    low, high = sequences.bounded_mean({(v, v): 1 for v in values}, ALPHA)

    def capital(values, mean):
        """Bet by bet, value by value."""
        capitals = []
        for bet in sequences._BETS:
            capital = 1.0
            for value in values:
                capital *= 1 + bet / mean * (value - mean)
            capitals.append(capital)
        return np.mean(capitals)

    assert low < values.mean() < high
    assert capital(values, low) == pytest.approx(2 / ALPHA, rel=1e-3)
    assert capital(1 - values, 1 - high) == pytest.approx(2 / ALPHA, rel=1e-3)


def test_a_value_that_is_known_within_bounds_is_taken_where_it_costs_most():
    exact = sequences.bounded_mean({(0.25, 0.25): 300, (0.5, 0.5): 300}, ALPHA)
    vague = sequences.bounded_mean({(0.24, 0.26): 300, (0.49, 0.51): 300}, ALPHA)
    assert vague[0] < exact[0] < exact[1] < vague[1]


def test_bounded_means_at_the_edges():
    assert sequences.bounded_mean({}, ALPHA) == (0, 1)
    low, high = sequences.bounded_mean({(0.0, 0.0): 2000}, ALPHA)
    assert low == 0
    assert 0 < high < 0.01
    assert sequences.bounded_mean({(1.0, 1.0): 2000}, ALPHA) == (pytest.approx(1 - high), 1)
