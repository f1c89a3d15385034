import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.stats.datapoints import Distribution, statistic
from gnomon.stats.histogram import Histogram

samples = st.lists(st.integers(0, 1000), min_size=1, max_size=200)


def distribution(values):
    counts = {float(value): float(values.count(value)) for value in set(values)}
    return Distribution(counts, float(sum(values)))


def trimmed(values, low, high):
    """By splitting every sample into a hundred equal parts."""
    parts = sorted(value for value in values for _ in range(100))
    return parts[len(values) * low : len(values) * high]


@given(samples)
def test_the_basic_statistics_are_those_of_the_samples(values):
    period = distribution(values)
    assert statistic("SampleCount")(period) == len(values)
    assert statistic("Sum")(period) == sum(values)
    assert statistic("Average")(period) == pytest.approx(np.mean(values))
    assert statistic("Minimum")(period) == min(values)
    assert statistic("Maximum")(period) == max(values)


@given(samples, st.sampled_from(["p0", "p1", "p50", "p99", "p99.9", "p100"]))
def test_a_percentile_is_the_value_at_its_rank(values, name):
    expected = np.percentile(values, float(name[1:]), method="inverted_cdf")
    assert statistic(name)(distribution(values)) == expected


@given(samples, st.integers(0, 98), st.integers(1, 100))
def test_what_is_trimmed_by_percentages_is_what_lies_between(values, low, high):
    if low >= high:
        low, high = high - 1, low + 1
    period = distribution(values)
    kept = trimmed(values, low, high)
    assert statistic(f"TM({low}%:{high}%)")(period) == pytest.approx(np.mean(kept))
    assert statistic(f"TS({low}%:{high}%)")(period) == pytest.approx(sum(kept) / 100)
    assert statistic(f"TC({low}%:{high}%)")(period) == pytest.approx(len(kept) / 100)
    clipped = np.clip(values, min(kept), max(kept))
    assert statistic(f"WM({low}%:{high}%)")(period) == pytest.approx(np.mean(clipped))


@given(samples, st.integers(0, 400), st.integers(500, 900))
def test_what_is_trimmed_by_values_is_above_the_one_up_to_the_other(values, low, high):
    period = distribution(values)
    kept = [value for value in values if low < value <= high]
    assert statistic(f"TC({low}:{high})")(period) == len(kept)
    assert statistic(f"PR({low}:{high})")(period) == pytest.approx(100 * len(kept) / len(values))
    mean = statistic(f"TM({low}:{high})")(period)
    assert mean == (pytest.approx(np.mean(kept)) if kept else None)


def test_short_forms_trim_the_highest():
    period = distribution(list(range(100)))
    assert statistic("tm90")(period) == statistic("TM(0%:90%)")(period)
    assert statistic("wm90")(period) == statistic("WM(:90%)")(period)
    assert statistic("tc10")(period) == pytest.approx(10)
    assert statistic("ts10")(period) == pytest.approx(45)
    assert statistic("IQM")(period) == statistic("TM(25%:75%)")(period)


@pytest.mark.parametrize(
    "name",
    [
        "", "p", "p101", "p-1", "p100.1", "average", "tm101", "TM(:)", "TM(10%:5%)", "TM(10%:20)",
        "TM(%:20%)", "PR(10%:20%)", "TM(0%:101%)", "p1e9", "p٣", "TM(1:2) ", "wm",
    ],
)  # fmt: skip
def test_a_name_that_cloudwatch_does_not_know_is_refused(name):
    with pytest.raises(ValueError, match=r".+"):
        statistic(name)


@pytest.mark.parametrize("name", ["Average", "Sum", "Minimum", "p50", "tm90", "PR(:1)", "wm50"])
def test_an_empty_period_has_no_statistic(name):
    assert statistic(name)(Distribution({}, 0.0)) is None


@given(samples)
def test_a_histogram_keeps_its_exact_sum_and_values_within_a_percent(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    period = Distribution.of_histogram(histogram.counts, float(sum(values)))
    assert period.count == len(values)
    assert statistic("Sum")(period) == sum(values)
    assert statistic("Maximum")(period) == pytest.approx(max(values), rel=0.01)
    without = Distribution.of_histogram(histogram.counts)
    assert math.isclose(without.total, sum(values), rel_tol=0.01)
