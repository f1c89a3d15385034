import contextlib
import dataclasses
import hashlib
from collections import Counter

import pytest
import structlog

from gnomon.collector import plan
from gnomon.collector.comparator import UserComparator
from gnomon.collector.plan import compare_answers, rows_of
from gnomon.model.analysis import (
    AnalysisSettings,
    ComparisonSettings,
    Guardrails,
    default_record,
)
from gnomon.stats.state import PairState, decode, encode
from gnomon.store.telemetry import tables
from gnomon.testing import frames as build
from gnomon.testing.frames import answer

DIGEST = hashlib.sha256(b"whole").digest()


@pytest.mark.parametrize(
    ("production", "shadow", "expected"),
    [
        ({}, {}, (True, "")),
        ({"body": b"0.50", "body_bytes": 4}, {}, (True, "")),
        ({"body": b"0.6"}, {}, (False, "body")),
        ({"status": 500}, {}, (False, "status")),
        ({}, {"status": 0, "failure": "deadline"}, (None, "no_answer")),
        ({"failure": "reset"}, {}, (None, "no_answer")),
        ({"body_bytes": 9}, {"body_bytes": 9}, (None, "truncated")),
        ({"body_bytes": 9}, {}, (None, "truncated")),
        (
            {"body_bytes": 9, "sha256": DIGEST},
            {"body_bytes": 9, "sha256": DIGEST},
            (True, ""),
        ),
        (
            {"body_bytes": 9, "sha256": DIGEST},
            {"body_bytes": 9, "sha256": b"other"},
            (None, "truncated"),
        ),
    ],
)
def test_answers_are_compared_where_both_are_known_whole(production, shadow, expected):
    comparison = compare_answers(answer(**production), answer(**shadow), ComparisonSettings())
    assert (comparison.same, comparison.reason) == expected


def test_metrics_become_one_row_for_each_key():
    rows = rows_of([build.metrics(1), build.metrics(2), build.metrics(4, minute=1)], {})
    assert [(row["minute"], row["name"], row["value"]) for row in rows.counts] == [
        (26238213, "invocations", 3.0),
        (26238213, "model_latency_us.number", 3.0),
        (1, "invocations", 4.0),
        (1, "model_latency_us.number", 4.0),
    ]
    assert [row["counts"] for row in rows.histograms] == [{100: 3}, {100: 4}]
    key = {column.name for column in tables.metric_counts.primary_key}
    assert rows.counts[0].keys() == key | {"value"}
    assert rows.histograms[0].keys() == key | {"counts"}


def analyses(**changes):
    record = default_record("experiment-1", AnalysisSettings(**changes), Guardrails())
    return {"experiment-1": record}


def kept(frames, known, **more):
    """What is kept of the pairs of the one experiment."""
    (state,) = rows_of(frames, known, **more).pairs.values()
    return state


def test_pairs_are_counted_by_experiment_and_analysis():
    known = analyses(block_s=2.0)
    rows = rows_of([build.pair("a"), build.pair("b", shadow=answer(body=b"0.7"))], known)
    ((key, state),) = rows.pairs.items()
    # Of all blocks of two seconds that end by then.
    assert key == ("experiment-1", known["experiment-1"].id, int(build.AT_S // 2 + 1) * 2_000_000)
    assert (state.pairs, state.block_us) == (2, 2_000_000)
    assert (state.answers.same, state.answers.differ) == (1, 1)


def test_pairs_are_metrics_of_the_shadow_by_minute_and_instance():
    twice = [build.pair("a"), build.pair("b"), build.pair("c", shadow=answer(body=b"0.7"))]
    later = build.pair("d", at_s=build.AT_S + 60, shadow=answer(failure="deadline", status=0))
    rows = rows_of([*twice, later, build.metrics(2)], analyses())
    minute = int(build.AT_S // 60)
    found = Counter()
    for row in rows.counts:
        if row["variant_id"] == build.pair().shadow_variant_id:
            found[row["minute"], row["name"]] += row["value"]
    assert found == {
        (minute, "pairs"): 3.0,
        (minute, "agreements"): 2.0,
        (minute, "disagreements"): 1.0,
        (minute + 1, "pairs"): 1.0,
    }


def test_what_production_answers_differently_is_noise_and_no_pair():
    twice = [build.noise("a"), build.noise("b", second=answer(body=b"0.7"))]
    state = kept([build.pair("c"), *twice], analyses())
    assert (state.pairs, state.answers.same, state.answers.differ) == (1, 1, 0)
    assert (state.noise.same, state.noise.differ) == (1, 1)


def test_what_is_the_same_is_said_by_the_experiments_settings():
    near = [
        build.pair(production=answer(body=b"1.0"), shadow=answer(body=b"1.01")),
    ]
    loose = ComparisonSettings(absolute_tolerance=0.1)
    assert kept(near, analyses()).answers.differ == 1
    assert kept(near, analyses(comparison=loose)).answers.same == 1


def test_of_too_many_pairs_some_are_compared_and_all_are_counted():
    pairs = [build.pair(f"event-{number}") for number in range(2000)]
    state = kept(pairs, analyses(), compared_of=10)
    assert state.pairs == state.latencies.pairs == 2000
    assert 140 < state.answers.compared < 260
    assert state.answers.unknown == {"not_compared": 2000 - state.answers.compared}


def test_exchanges_and_barriers_become_no_rows():
    rows = rows_of([build.exchange(), build.barrier()], {})
    assert (rows.counts, rows.histograms, rows.pairs) == ([], [], {})


def test_a_comparator_that_fails_is_told_and_the_row_is_there(monkeypatch):
    def fail(*_bodies):
        raise ZeroDivisionError

    monkeypatch.setattr(plan, "compare", fail)
    with structlog.testing.capture_logs() as logs:
        rows = rows_of([build.pair("a"), build.metrics(1), build.pair("b")], analyses())
    (state,) = rows.pairs.values()
    assert state.answers.unknown == {"comparator_failed": 2}
    assert [(entry["event"], entry["event_id"]) for entry in logs] == [
        ("comparator_failed", "a"),
        ("comparator_failed", "b"),
    ]
    names = {row["name"] for row in rows.counts}
    assert names == {"pairs", "invocations", "model_latency_us.number"}


def test_a_users_comparator_has_the_last_word_and_pairs_that_it_fails_for_are_unknown(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def compare(a, b):\n    return len(a.body) == len(b.body) or 1 / 0\n")
    pairs = [
        build.pair("a", shadow=answer(body=b"0.7")),
        build.pair("b", shadow=answer(body=b"0.7000", body_bytes=6)),
    ]
    with contextlib.closing(UserComparator(str(file), "compare")) as users:
        state = kept(pairs, analyses(), users={"default": users})
    assert (state.answers.same, state.answers.differ) == (1, 0)
    assert state.answers.unknown == {"comparator_failed": 1}


@pytest.mark.parametrize(
    ("chosen", "same", "unknown"),
    [
        ("default", True, {}),
        ("by_length", False, {}),
        ("gnomon", False, {}),
        ("gone", None, {"comparator_missing": 1}),
    ],
)
def test_an_experiments_analysis_chooses_its_comparator(tmp_path, chosen, same, unknown):
    file = tmp_path / "mine.py"
    file.write_text(
        "def anything(a, b):\n    return True\n"
        "def by_length(a, b):\n    return len(a.body) == len(b.body)\n"
    )
    pair = build.pair("a", shadow=answer(body=b"0.7000", body_bytes=6))
    with contextlib.ExitStack() as closing:
        users = {
            name: closing.enter_context(contextlib.closing(UserComparator(str(file), function)))
            for name, function in (("default", "anything"), ("by_length", "by_length"))
        }
        state = kept([pair], analyses(comparator=chosen), users=users)
    assert (state.answers.same, state.answers.differ) == (same is True, same is False)
    assert state.answers.unknown == unknown


def test_gnomon_compares_where_the_settings_name_no_function():
    state = kept([build.pair("a")], analyses(comparator="default"))
    assert state.answers.same == 1


JSON_LINES = "application/jsonlines"
HALVES = [rb'"\ud800"', b'"\xed\xa0\x80"', rb'["\udfff", NaN]']


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("content_type", ["application/json", JSON_LINES])
@pytest.mark.parametrize("shape", [b"%s", b'{"label": %s}', b'{"a": %s}', b'{"scores": {%s: 1}}'])
def test_halves_of_characters_stop_nothing_that_comes_with_them(half, content_type, shape):
    body = shape % half
    poisonous = {"content_type": content_type, "body": body, "body_bytes": len(body)}
    pairs = [
        build.pair("a", shadow=answer(**poisonous)),
        build.pair("b", production=answer(**poisonous), shadow=answer(**poisonous)),
        build.pair("c"),
    ]
    rows = rows_of([*pairs, build.metrics(1)], analyses())
    (state,) = rows.pairs.values()
    assert decode(encode(state)).pairs == 3
    assert state.answers.same == 2
    assert any(row["name"] == "invocations" for row in rows.counts)


def test_a_pair_that_cannot_be_counted_is_unknown_and_all_others_are_counted(monkeypatch):
    def add(self, pair, comparison, hashed=None):
        if pair.event_id == "never" or (pair.event_id == "as it is" and comparison.same):
            self.pairs += 1
            raise ZeroDivisionError
        counted(self, pair, comparison, hashed)

    counted = PairState.add
    pairs = [build.pair(event_id) for event_id in ("a", "never", "as it is", "b")]
    monkeypatch.setattr(PairState, "add", add)
    rows = rows_of([*pairs, build.noise("c"), build.metrics(1)], analyses())
    (state,) = rows.pairs.values()
    assert (state.pairs, state.answers.same, state.noise.same) == (4, 2, 1)
    assert state.answers.unknown == {"not_counted": 2}
    assert state.production_outcomes == {"2xx": 3}
    values = {row["name"]: row["value"] for row in rows.counts}
    assert (values["pairs"], values["invocations"]) == (4, 1)


def test_a_pair_that_cannot_be_stored_is_unknown(monkeypatch):
    found = plan.compare

    def unstorable(content_type, body, *rest):
        paths = ("/\ud800",) if body == b"odd" else ()
        same = found(content_type, body, *rest)
        return dataclasses.replace(same, same=False, paths=paths) if paths else same

    monkeypatch.setattr(plan, "compare", unstorable)
    state = kept([build.pair("a"), build.pair("b", production=answer(body=b"odd"))], analyses())
    assert (state.pairs, state.answers.same, state.answers.unknown) == (2, 1, {"not_counted": 1})
    assert decode(encode(state)).pairs == 2


def test_noise_that_cannot_be_counted_is_unknown(monkeypatch):
    def fail(*_given):
        raise ZeroDivisionError

    monkeypatch.setattr(PairState, "add_noise", fail)
    state = kept([build.noise("a"), build.pair("b")], analyses())
    assert (state.pairs, state.noise.unknown) == (1, {"not_counted": 1})


def test_of_too_much_noise_some_is_compared_too():
    state = kept(
        [build.noise(f"event-{number}") for number in range(500)], analyses(), compared_of=10
    )
    assert 20 < state.noise.compared < 90
    assert state.noise.compared + state.noise.unknown["not_compared"] == 500


def test_what_a_users_comparator_raised_last_is_kept(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def compare(a, b):\n    raise KeyError(b.body.decode() * 1000)\n")
    pairs = [
        build.pair("a", at_s=build.AT_S + 1, shadow=answer(body=b"0.7")),
        build.pair("b", shadow=answer(body=b"0.9")),
    ]
    with contextlib.closing(UserComparator(str(file), "compare")) as users:
        state = kept(pairs, analyses(), users={"default": users})
        other = kept([build.pair("c")], analyses(), users={"default": users})
    assert state.raised[1].startswith("KeyError: '0.70.7")
    assert len(state.raised[1]) == 300
    other.merge(state)
    assert decode(encode(other)).raised == state.raised
