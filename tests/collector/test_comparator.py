import contextlib

import pytest
import structlog

from gnomon.collector import comparator, comparing
from gnomon.collector.comparator import Unknown, UserComparator, functions_named
from gnomon.collector.comparing import Answer
from gnomon.errors import SettingsError
from gnomon.settings import AnalysisDefaults

FUNCTION = """
import os, time

def compare(production, shadow):
    print("a print is no answer")
    if shadow.body == b"hang":
        time.sleep(60)
    if shadow.body == b"die":
        os._exit(1)
    if shadow.body == b"paths":
        return {"/x": 0.5}
    if shadow.body == b"raise":
        raise KeyError("x")
    return production.body == shadow.body and production.status == shadow.status
"""


@pytest.fixture
def users(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FUNCTION)
    with contextlib.closing(UserComparator(str(file), "compare")) as found:
        yield found


def ask(users, body):
    return users.distances(Answer(200, "text/csv", b"a"), Answer(200, "text/csv", body))


def test_a_function_says_whether_answers_are_the_same_or_where_they_differ(users):
    assert ask(users, b"a") == {}
    assert ask(users, b"b" * 1_000_000) == {"": 1.0}
    assert ask(users, b"paths") == {"/x": 0.5}


def test_what_it_raises_leaves_one_pair_unknown_and_the_next_is_compared(users):
    with pytest.raises(Unknown, match="comparator_failed"):
        ask(users, b"raise")
    assert ask(users, b"a") == {}


@pytest.mark.parametrize(
    ("body", "reason"), [(b"hang", "comparator_slow"), (b"die", "comparator_failed")]
)
def test_a_child_that_is_lost_is_started_anew_after_a_rest(users, monkeypatch, body, reason):
    assert ask(users, b"a") == {}
    with pytest.raises(Unknown, match=reason):
        ask(users, body)
    with pytest.raises(Unknown, match=reason):
        ask(users, b"a")
    rested = comparator.time.monotonic() + comparator._REST_S
    monkeypatch.setattr(comparator.time, "monotonic", lambda: rested)
    assert ask(users, b"a") == {}


def test_a_file_that_cannot_be_loaded_leaves_pairs_unknown(tmp_path):
    users = UserComparator(str(tmp_path / "none.py"), "compare")
    with contextlib.closing(users), pytest.raises(Unknown, match="comparator_failed"):
        ask(users, b"a")


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def compare(a, b): ...", "other", "has no function other"),
        ("def compare(", "compare", "cannot be loaded"),
        (None, "compare", "cannot be loaded"),
        ("", "", "is to be"),
    ],
)
def test_a_setting_that_names_no_function_is_refused_in_a_sentence(tmp_path, text, name, said):
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=rf"^\[analysis\] comparator .*{said}"):
        functions_named(AnalysisDefaults(comparator=f"{file}:{name}"))
    with pytest.raises(SettingsError, match=rf"^\[analysis.comparators\] by_rank .*{said}"):
        functions_named(AnalysisDefaults(comparators={"by_rank": f"{file}:{name}"}))


def test_settings_name_functions(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FUNCTION)
    function = f"{file}:compare"
    assert functions_named(AnalysisDefaults()) == {}
    named = functions_named(AnalysisDefaults(comparator=function, comparators={"a": function}))
    assert named == dict.fromkeys(["default", "a"], (str(file), "compare"))


@pytest.mark.parametrize("name", ["default", "gnomon"])
def test_a_name_that_has_a_meaning_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match=f"cannot name a function {name}"):
        functions_named(AnalysisDefaults(comparators={name: "/a.py:b"}))


@pytest.mark.parametrize("distance", ["float('inf')", "float('-inf')", "float('nan')", "'1e999'"])
def test_a_distance_that_is_not_finite_leaves_the_pair_unknown(distance):
    said = comparing.said(eval(f"lambda a, b: {{'/x': {distance}}}"), None, None)
    assert said.distances == {}
    assert "the distance at /x is" in said.failed


def test_paths_of_a_function_are_made_as_gnomons_own():
    given = {"/a\nb\x1fc": 0.5, "/\ud800": 1, "x" * 400: 1, 3: 2}
    said = comparing.said(lambda *_: given, None, None)
    assert said.distances == {"/a b c": 0.5, "/?": 1, "x" * 300 + "…": 1, "3": 2}
    many = comparing.said(lambda *_: {f"/{n}": n for n in range(100)}, None, None)
    assert len(many.distances) == 33
    assert many.distances["(more paths)"] == 99


class Odd(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyError("\ud800" * 1000), "KeyError: '"),
        (ValueError("a\nb\ud800"), "ValueError: a b?"),
        (Odd(), "Odd"),
    ],
)
def test_what_a_function_raises_is_said_in_bounds(raised, said):
    def fail(*_answers):
        raise raised

    found = comparing.said(fail, None, None).failed
    assert found.startswith(said)
    assert len(found.encode()) <= 300


def test_a_function_that_always_fails_is_logged_once_a_minute(users, monkeypatch):
    now_s = [comparator.time.monotonic()]
    monkeypatch.setattr(comparator.time, "monotonic", lambda: now_s[0])
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            with pytest.raises(Unknown) as unknown:
                ask(users, b"raise")
            assert unknown.value.why == "KeyError: 'x'"
        assert len(logs) == 1
        now_s[0] += 60
        with pytest.raises(Unknown):
            ask(users, b"raise")
    assert [entry["reason"] for entry in logs] == ["KeyError: 'x'"] * 2
