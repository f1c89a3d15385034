import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.stats.histogram import Histogram, bucket_bounds, bucket_of

values_us = st.one_of(st.integers(0, 5_000), st.integers(0, 2**42))


def _histogram(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@settings(deadline=None)
@given(values_us)
def test_a_value_lies_within_the_bounds_of_its_bucket(value):
    low, high = bucket_bounds(bucket_of(value))
    assert low <= value < high


@settings(deadline=None)
@given(st.integers(0, 3_000))
def test_buckets_follow_each_other_without_a_gap(index):
    _, high = bucket_bounds(index)
    assert bucket_bounds(index + 1)[0] == high
    assert bucket_of(high) == index + 1


@settings(deadline=None)
@given(values_us)
def test_a_recorded_value_is_given_back_within_one_percent(value):
    assert _histogram([value]).quantile(0.5) == pytest.approx(value, rel=0.01)


def test_a_negative_value_counts_as_zero():
    assert bucket_of(-5) == 0


@settings(deadline=None)
@given(st.lists(values_us, min_size=1), st.floats(0, 1))
def test_a_quantile_is_within_one_percent_of_the_value_at_its_rank(values, q):
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert _histogram(values).quantile(q) == pytest.approx(exact, rel=0.01)


@settings(deadline=None)
@given(st.lists(st.lists(values_us)), st.randoms())
def test_a_merge_in_any_order_equals_recording_everything_in_one(parts, random):
    shuffled = [_histogram(part).counts for part in parts]
    random.shuffle(shuffled)
    whole = _histogram(value for part in parts for value in part)
    assert Histogram.merged(shuffled).counts == whole.counts


def test_merging_leaves_the_added_histogram_alone():
    added = _histogram([1, 2])
    _histogram([2]).merge(added)
    assert added.counts == {1: 1, 2: 1}


def test_count_is_the_number_of_recorded_values():
    assert _histogram([1, 1, 1000]).count == 3


def test_an_empty_histogram_has_no_quantile():
    assert Histogram().quantile(0.5) is None


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        _histogram([1]).quantile(q)
