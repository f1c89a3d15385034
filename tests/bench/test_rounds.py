from __future__ import annotations

import pytest
from bench.kit.report import CannotMeasure
from bench.kit.rounds import in_turn, median_ratio, valid


def test_every_other_round_goes_backwards():
    assert [in_turn("abc", number) for number in range(3)] == [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["a", "b", "c"],
    ]


def test_a_ratio_is_taken_within_each_round():
    # The second round was disturbed, for both alike.
    assert median_ratio([20, 2, 30], [10, 1, 10]) == 2


def test_what_is_void_is_measured_again():
    results = iter([3, 5, 4])
    assert valid(lambda: next(results), lambda result: result % 2 == 1, "Odd") == 4


def test_what_is_always_void_is_not_measured():
    with pytest.raises(CannotMeasure, match=r"^Odd, 4 times"):
        valid(lambda: 1, lambda result: result % 2 == 1, "Odd")
