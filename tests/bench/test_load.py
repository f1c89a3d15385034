from __future__ import annotations

import pytest
from bench.kit.load import parse_latency, parse_maximum
from bench.kit.report import CannotMeasure

URL = "http://127.0.0.1:1/invocations"


def log(*requests: tuple[int, int, int]) -> list[str]:
    return ["\t".join(map(str, request)) for request in requests]


def test_the_maximum_is_requests_by_the_time_that_they_took():
    found = parse_maximum("Running 2s test\nmeasured 5000 2500000 0\n", URL)
    assert found.requests == 5000
    assert found.requests_per_s == 2000


@pytest.mark.parametrize("line", ["measured 5000 2500000 1", "measured 0 2500000 0", "Running"])
def test_a_maximum_with_failures_or_without_requests_is_none(line):
    with pytest.raises(CannotMeasure):
        parse_maximum(line, URL)


def test_percentiles_are_values_that_occurred():
    found = parse_latency(log(*((n * 1000, 200, n) for n in range(1, 101))), 1000, URL)
    assert (found.p50_us, found.p99_us) == (50, 99)
    assert found.requests == 100


@pytest.mark.parametrize(("gap_us", "is_void"), [(1000, False), (1015, False), (1030, True)])
def test_a_round_below_98_percent_of_its_rate_is_void(gap_us, is_void):
    found = parse_latency(log(*((n * gap_us, 200, 100) for n in range(1000))), 1000, URL)
    assert found.is_void == is_void


@pytest.mark.parametrize("status", [-1, 199, 302, 503])
def test_latency_is_not_taken_from_requests_that_failed(status):
    with pytest.raises(CannotMeasure, match=str(status)):
        parse_latency(log((0, 200, 10), (1000, status, 10), (2000, 200, 10)), 1000, URL)
