import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.stats.exact_sum import ExactSum

finite = st.floats(allow_nan=False, allow_infinity=False)


def summed(values):
    total = ExactSum()
    for value in values:
        total.add(value)
    return total


@settings(deadline=None)
@given(st.lists(finite))
def test_a_sum_is_exact(values):
    assert summed(values).value == sum(map(Fraction, values), Fraction(0))


def test_what_cancels_leaves_what_was_small():
    assert float(summed([1e300, 5e-324, -1e300]).value) == 5e-324
    assert math.isclose(float(summed([0.1] * 10).value), 1.0)


@settings(deadline=None)
@given(st.lists(finite), st.lists(finite))
def test_merging_is_adding(some, more):
    total = summed(some)
    total.merge(summed(more))
    assert total == summed(more + some)


@settings(deadline=None)
@given(st.lists(finite))
def test_a_sum_survives_its_bytes(values):
    assert ExactSum.from_bytes(summed(values).to_bytes()) == summed(values)
