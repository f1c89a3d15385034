import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.model.analysis import ComparisonSettings
from gnomon.stats.comparators import compare

JSON = "application/json"
LINES = "application/jsonlines"
SAME = (True, "", ())
EXACT = ComparisonSettings()


def found(a, b, content_type=JSON, **fields):
    comparison = compare(content_type, a, content_type, b, ComparisonSettings(**fields))
    return comparison.same, comparison.reason, comparison.paths


def differ(*paths, reason="body"):
    return False, reason, paths


@pytest.mark.parametrize(
    ("content_type", "a", "b", "expected"),
    [
        (JSON, b'{"a": 1, "b": [1.0]}', b'{"b":[1],"a":1.0}', SAME),
        ("application/json; charset=utf-8", b"[0.10]", b"[0.1]", SAME),
        ("application/vnd.x+json", b"[1]", b"[ 1 ]", SAME),
        (JSON, b"[NaN]", b"[NaN ]", SAME),
        (JSON, b"[NaN]", b"[0.0]", differ("/*")),
        (JSON, b"[Infinity]", b"[1e999]", SAME),
        (JSON, b"[Infinity]", b"[-Infinity]", differ("/*")),
        (JSON, b"[1]", b"[true]", differ("/*")),
        (JSON, b"[1]", b'["1"]', differ("/*")),
        (JSON, b"[1, 2]", b"[1]", differ("/")),
        (JSON, b"1", b"2", differ("/")),
        (JSON, b'{"a": 1}', b'{"b": 1}', differ("/a", "/b")),
        (JSON, b'{"a": null}', b'{"a": 0}', differ("/a")),
        (JSON, b'{"a": {"b/c": [1, 2]}}', b'{"a": {"b/c": [3, 4]}}', differ("/a/b~1c/*")),
        (JSON, b"[1" + b"0" * 400 + b"]", b"[1.5]", differ("/*")),
        (JSON, b"[1]", b"[1", differ(reason="malformed")),
        (JSON, b"[", b"[ ", differ(reason="malformed")),
        (JSON, b"\xff", b"\xfe", differ(reason="malformed")),
        (JSON, b'["\\ud800"]', b'["\\ud801"]', differ(reason="malformed")),
        (JSON, b'{"\\udfff": NaN}', b'{"\\udfff": 1}', differ(reason="malformed")),
        (JSON, b'["\\ud83d\\ude00", NaN]', '["\U0001f600", NaN]'.encode(), SAME),
        (JSON, b"[" * 100_000, b"[" * 99_999, (None, "too_deep", ())),
        (JSON, b"[" * 100_000, b"[" * 100_000, SAME),
        (LINES, b'{"a":1}\n\n{"a":2}', b'{"a":1.0}\n{"a":2}\n', SAME),
        ("application/x-ndjson", b'{"a":1}\n{"a":2}', b'{"a":1}\n{"a":3}', differ("/*/a")),
        ("text/csv", b"1.0,a\n", b"1,a\r\n\r\n", SAME),
        ("TEXT/CSV;header=absent", b"1e2", b'"100"', SAME),
        ("text/csv", b" 1 ,x", b"1, x", SAME),
        ("text/csv", b"1000", b"1_000", differ("column 1")),
        ("text/csv", b"1,2\n1,2", b"1,3\n1,4", differ("column 2")),
        ("text/csv", b"1,2", b"1\n2", differ("columns", "rows", reason="shape")),
        ("text/csv", b"1,\xff", b"1,2", differ(reason="malformed")),
        ("text/csv", b"sNaN", b"1", differ("column 1")),
        ("text/csv", b"sNaN,1.0", b"sNaN,1", SAME),
        ("text/csv", b"9007199254740993", b"9007199254740992", differ("column 1")),
        ("text/plain", b"cat\n", b" cat", SAME),
        ("text/plain", "caf\u00e9  au lait".encode(), "cafe\u0301 au\nlait".encode(), SAME),
        ("text/plain", b"cat", b"dog", differ()),
        ("text/plain", b"\xff ", b"\xff", SAME),
        ("application/x-npy", b"\x00 ", b"\x00", differ()),
        (None, b"1.0", b"1", differ()),
    ],
)
def test_bodies_are_compared_as_their_content_type_says(content_type, a, b, expected):
    assert found(a, b, content_type) == expected


def test_answers_of_different_kinds_differ():
    comparison = compare("text/csv", b"1", JSON, b"1", EXACT)
    assert (comparison.same, comparison.reason) == (False, "content_type")


def test_a_missing_content_type_is_taken_to_be_the_other_ones():
    assert compare("text/csv", b"1.0", None, b"1", EXACT).same


@pytest.mark.parametrize(
    ("a", "b", "fields", "is_same"),
    [
        (b"[100.0]", b"[100.9]", {"relative_tolerance": 0.01}, True),
        (b"[100.0]", b"[102.1]", {"relative_tolerance": 0.01}, False),
        (b"[0.0]", b"[0.001]", {"relative_tolerance": 0.01}, False),
        (b"[0.0]", b"[0.001]", {"absolute_tolerance": 0.001}, True),
        (b"[-0.001]", b"[0.001]", {"absolute_tolerance": 0.002}, True),
        (b"[0.0]", b"[0.0011]", {"absolute_tolerance": 0.001}, False),
        (b"[NaN]", b"[1.0]", {"absolute_tolerance": 1e300}, False),
        (b"[Infinity]", b"[1.0]", {"relative_tolerance": 1.0}, False),
        (b"[9007199254740993]", b"[9007199254740992]", {}, False),
        (b"[true]", b"[1]", {"absolute_tolerance": 2.0}, False),
    ],
)
def test_numbers_are_the_same_within_either_tolerance(a, b, fields, is_same):
    assert found(a, b, **fields)[0] is is_same


def test_a_tolerance_holds_for_cells_too():
    assert found(b"1.00,x", b"1.01,x", "text/csv", relative_tolerance=0.02) == SAME


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (b"[1, 2, 3]", b"[3, 1.0, 2]", SAME),
        (b'[{"a": 1}, {"a": 2}]', b'[{"a": 2}, {"a": 1}]', SAME),
        (b'[{"a": 1}, {"a": 2}]', b'[{"a": 3}, {"a": 1}]', differ("/*/a")),
        (b"[1, 1, 2]", b"[1, 2, 2]", differ("/*")),
        (b"[1, 1]", b"[1]", differ("/")),
        (b"[NaN, 1]", b"[1, NaN]", SAME),
        (b"[[1, 2], [3]]", b"[[3], [2, 1]]", SAME),
    ],
)
def test_the_order_of_lists_can_be_left_out(a, b, expected):
    assert found(a, b, list_order="any")[:2] == expected[:2]


def test_the_order_of_lists_counts_unless_it_is_left_out():
    assert found(b"[1, 2]", b"[2, 1]") == differ("/*")


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        ((), ("/at", "/predictions/*/id", "/predictions/*/id/x")),
        (("/at",), ("/predictions/*/id", "/predictions/*/id/x")),
        (("/predictions/*/id",), ("/at",)),
        (("/*/*/id", "/at"), ()),
        (("/predictions",), ("/at",)),
        (("/pred",), ("/at", "/predictions/*/id", "/predictions/*/id/x")),
        (("/",), ("/at", "/predictions/*/id", "/predictions/*/id/x")),
    ],
)
def test_what_is_ignored_is_ignored_with_all_beneath_it(ignored, left):
    a = b'{"at": 1, "predictions": [{"id": 1}, {"id": {"x": 1}}]}'
    b = b'{"at": 2, "predictions": [{"id": 2}, {"id": {"x": 2}}]}'
    same, _, paths = found(a, b, ignored_paths=ignored)
    assert (same, paths) == (not left, left)


def test_a_column_can_be_ignored():
    assert found(b"1,2", b"1,3", "text/csv", ignored_paths=("column 2",)) == SAME


def test_exact_text_counts_every_byte():
    assert found(b"cat\n", b"cat", "text/plain", text="exact") == differ()


def test_paths_of_one_pair_are_bounded():
    a = b"{" + b",".join(b'"key%d": 1' % n for n in range(1000)) + b"}"
    _, _, paths = found(a, a.replace(b": 1", b": 2"))
    assert len(paths) == 33
    assert paths[-1] == "(more paths)"


def test_long_keys_and_deep_documents_make_no_long_paths():
    a = b'{"%b": %b1%b}' % (b"k" * 10_000, b'{"deep": ' * 100, b"}" * 100)
    _, _, (path,) = found(a, a.replace(b"1", b"2"))
    assert len(path) <= 301


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (JSON, b'{"predictions": [{"label": "cat", "score": 0.9}]}', ["cat"]),
        (JSON, b'{"predictions": [0.5, 2]}', [0.5, 2]),
        (JSON, b'{"predictions": [[0.1, 0.7, 0.2]]}', ["1"]),
        (JSON, b'{"predictions": [[1.5, 2.5]]}', None),
        (JSON, b'[{"scores": [3.5, -1.0]}, {"scores": [0.0, 1.0]}]', ["0", "1"]),
        (JSON, b'{"probabilities": {"cat": 0.2, "dog": 0.8}}', ["dog"]),
        (JSON, b'{"score": 0.25}', [0.25]),
        (JSON, b'{"predicted_label": true}', ["true"]),
        (JSON, b'"cat"', ["cat"]),
        (JSON, b'"' + b"x" * 200 + b'"', None),
        (JSON, b'{"text": "once upon a time"}', None),
        (JSON, b"null", None),
        (JSON, b"[]", None),
        (LINES, b'{"label": "a"}\n{"label": "b"}', ["a", "b"]),
        ("text/csv", b"0.5\n1.5\n", [0.5, 1.5]),
        ("text/csv", b"1\n0\n", [1, 0]),
        ("text/csv", b"cat,0.9\ndog,0.8", ["cat", "dog"]),
        ("text/csv", b"0.25,0.75", ["1"]),
        ("text/csv", b"1" * 5_000, [float("inf")]),
        ("text/csv", b"1.5,2.5", None),
        ("text/csv", b"1,", None),
    ],
)
def test_predictions_are_read_from_the_shapes_in_which_models_answer(content_type, body, expected):
    comparison = compare(content_type, body, content_type, body, EXACT)
    wanted = tuple((value, value) for value in expected or ())
    assert comparison.predictions == wanted
    assert [type(a) for a, _ in comparison.predictions] == [type(a) for a, _ in wanted]


def test_each_prediction_stands_beside_the_other_variants():
    a, b = b'[{"label": "x"}, {"label": "y"}]', b'[{"label": "x"}, {"label": "z"}]'
    assert compare(JSON, a, JSON, b, EXACT).predictions == (("x", "x"), ("y", "z"))


def test_answers_with_different_numbers_of_predictions_have_none_to_compare():
    assert compare(JSON, b"[1.5]", JSON, b"[1.5, 2.5]", EXACT).predictions == ()


def test_the_distance_grows_with_what_differs():
    near, far, other = (
        compare(JSON, b'{"a": 1.0, "b": "x"}', JSON, b, EXACT).distance
        for b in (b'{"a": 1.1, "b": "x"}', b'{"a": 5.0, "b": "x"}', b'{"a": 5.0, "b": "y"}')
    )
    assert 0 < near < far < other


def mirrored(comparison):
    swapped = tuple((b, a) for a, b in comparison.predictions)
    return comparison.same, comparison.reason, set(comparison.paths), swapped


CONTENT_TYPES = st.sampled_from([JSON, LINES, "text/csv", "text/plain", "image/png"])


@settings(deadline=None)
@given(CONTENT_TYPES | st.none(), st.binary())
def test_a_body_is_the_same_as_itself(content_type, body):
    assert compare(content_type, body, content_type, body, EXACT).same


@settings(deadline=None)
@given(CONTENT_TYPES, st.binary() | st.sampled_from([b"1,2", b"[1, NaN]", b"1.0", b'{"a": 1}']))
def test_the_order_of_the_two_does_not_matter(content_type, body):
    other = b'{"a": 2, "b": [1]}'
    one = compare(content_type, body, content_type, other, EXACT)
    two = compare(content_type, other, content_type, body, EXACT)
    assert mirrored(one) == (two.same, two.reason, set(two.paths), two.predictions)
    assert one.distance == pytest.approx(two.distance)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(JSON, rb'{"label": "a\u001fb\n"}'), ("text/csv", b"a\x1fb,1\n"), (JSON, rb'["a\u001fb"]')],
)
def test_a_label_never_holds_what_labels_are_joined_with(content_type, body):
    ((label, _),) = compare(content_type, body, content_type, body, EXACT).predictions
    assert label.strip() == "a b"
