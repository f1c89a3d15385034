import math

import numpy as np
import pytest

from gnomon.stats import sequences
from gnomon.stats.histogram import Histogram, bucket_bounds
from gnomon.stats.ranked import Ranked


def ranked(values, **further):
    histogram = Histogram()
    for value in values:
        histogram.record(int(value))
    return Ranked.of(histogram.counts, bucket_bounds, **further)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_an_interval_is_between_the_values_at_its_ranks_widened_by_their_buckets(share):
    values = np.sort(np.random.default_rng(3).lognormal(8, 1, 5000).astype(int))
    low_rank, high_rank = sequences.ranks(share, 5000, 0.05)
    low, high = ranked(values).interval(share, 0.05)
    assert low <= values[low_rank - 1] <= low * 1.02
    assert values[high_rank - 1] <= high <= values[high_rank - 1] * 1.02
    assert low < np.quantile(values, share) < high


def test_a_quantile_is_that_of_numpy_within_a_bucket():
    values = np.random.default_rng(4).lognormal(8, 1, 5000).astype(int)
    for share in (0.1, 0.5, 0.99):
        exact = np.quantile(values, share, method="inverted_cdf")
        assert ranked(values).quantile(share) == pytest.approx(exact, rel=0.01)


def test_what_is_beyond_all_others_takes_the_upper_bound_away():
    some = ranked([1000] * 980, above=20, above_value=60e6)
    low, high = some.interval(0.99, 0.05)
    assert (low, high) == (1000, math.inf)
    assert some.quantile(0.99) == 60e6
    assert ranked([1000] * 500, above=500, above_value=60e6).interval(0.9, 0.05)[0] == 60e6


def test_what_has_no_order_costs_both_ways():
    counts = dict.fromkeys(range(1000), 1)
    whole, odd = (Ranked.of(counts, lambda value: (value, value), unordered=n) for n in (0, 5))
    assert odd.interval(0.5, 0.05)[0] < whole.interval(0.5, 0.05)[0]
    assert odd.interval(0.5, 0.05)[1] > whole.interval(0.5, 0.05)[1]
    assert odd.quantile(0.5) is None


def test_nothing_has_no_bounds():
    assert ranked([]).interval(0.5, 0.05) == (-math.inf, math.inf)
    assert ranked([]).quantile(0.5) is None


def test_growth_keeps_shares_and_narrows():
    some = ranked(range(1000))
    more = some.grown(10)
    assert more.count == 10_000
    assert more.quantile(0.5) == some.quantile(0.5)
    assert more.interval(0.5, 0.05)[1] < some.interval(0.5, 0.05)[1]
