import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.stats.comparators import Comparison, compare

SAME = Comparison(same=True)


def _differ(reason="body"):
    return Comparison(same=False, reason=reason)


@pytest.mark.parametrize(
    ("content_type", "a", "b", "expected"),
    [
        ("application/json", b'{"a": 1, "b": [1.0]}', b'{"b":[1],"a":1.0}', SAME),
        ("application/json; charset=utf-8", b"[0.10]", b"[0.1]", SAME),
        ("application/vnd.x+json", b"[1]", b"[ 1 ]", SAME),
        ("application/json", b"[NaN]", b"[NaN ]", SAME),
        ("application/json", b"[NaN]", b"[0.0]", _differ()),
        ("application/json", b"[1]", b"[true]", _differ()),
        ("application/json", b"[1]", b'["1"]', _differ()),
        ("application/json", b"[1, 2]", b"[1]", _differ()),
        ("application/json", b'{"a": 1}', b'{"b": 1}', _differ()),
        ("application/json", b"[1]", b"[1", _differ("malformed")),
        ("application/json", b"[", b"[ ", _differ("malformed")),
        ("application/json", b"[" * 100_000, b"[" * 99_999, Comparison(None, "too_deep")),
        ("text/csv", b"1.0,a\n", b"1,a\r\n\r\n", SAME),
        ("TEXT/CSV;header=absent", b"1e2", b'"100"', SAME),
        ("text/csv", b" 1 ,x", b"1, x", SAME),
        ("text/csv", b"1000", b"1_000", _differ()),
        ("text/csv", b"1,2", b"1,3", _differ()),
        ("text/csv", b"1,2", b"1\n2", _differ("shape")),
        ("text/csv", b"1,\xff", b"1,2", _differ("malformed")),
        ("text/csv", b"sNaN", b"1", _differ()),
        ("text/csv", b"1", b"sNaN", _differ()),
        ("text/csv", b"sNaN,1.0", b"sNaN,1", SAME),
        ("text/csv", b"9007199254740993", b"9007199254740992", _differ()),
        ("text/plain", b"cat\n", b" cat", SAME),
        ("text/plain", b"cat", b"dog", _differ()),
        ("application/x-npy", b"\x00 ", b"\x00", _differ()),
        (None, b"1.0", b"1", _differ()),
    ],
)
def test_bodies_are_compared_as_their_content_type_says(content_type, a, b, expected):
    assert compare(content_type, a, content_type, b) == expected


def test_answers_of_different_kinds_differ():
    assert compare("text/csv", b"1", "application/json", b"1") == _differ("content_type")


def test_a_missing_content_type_is_taken_to_be_the_other_ones():
    assert compare("text/csv", b"1.0", None, b"1") == SAME


@settings(deadline=None)
@given(
    st.sampled_from(["application/json", "text/csv", "text/plain", "image/png", None]), st.binary()
)
def test_a_body_is_the_same_as_itself(content_type, body):
    assert compare(content_type, body, content_type, body) == SAME


@settings(deadline=None)
@given(
    st.sampled_from(["application/json", "text/csv", "text/plain", "image/png"]),
    st.binary(),
    st.binary(),
)
def test_the_order_of_the_two_does_not_matter(content_type, a, b):
    assert compare(content_type, a, content_type, b) == compare(content_type, b, content_type, a)
