"""When memory or descriptors count as flat."""

from __future__ import annotations

from bench.kit.watch import not_flat, thirds


def test_what_a_process_takes_at_its_start_is_left_out():
    assert thirds([1, 1, 1, 50, 52, 51, 50, 51, 53]) == (51, 51)
    assert not_flat("Memory", [1, 1, 1, 50, 52, 51, 50, 51, 53], 1.05, 4) == []


def test_a_peak_that_passes_is_not_growth():
    assert not_flat("Memory", [50, 50, 50, 50, 50, 50, 50, 900, 50], 1.05, 4) == []


def test_what_grows_on_is_said_with_both_figures():
    assert not_flat("Memory", [40, 50, 60, 70, 80, 90, 100, 110, 120], 1.05, 4) == [
        "Memory did not stay flat: 80.0 in the middle third, 110.0 in the last."
    ]


def test_a_factor_and_a_slack_are_allowed_and_no_more():
    assert not_flat("Memory", [0, 0, 0, 100, 100, 100, 109, 109, 109], 1.05, 4) == []
    assert not_flat("Memory", [0, 0, 0, 100, 100, 100, 110, 110, 110], 1.05, 4)


def test_too_few_samples_say_nothing():
    assert "too few" in not_flat("Memory", [50] * 8, 1.05, 4)[0]
