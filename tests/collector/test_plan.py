import hashlib

import pytest
import structlog

from gnomon.collector import plan
from gnomon.collector.plan import compare_answers, rows_of
from gnomon.model.analysis import ComparisonSettings
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
    rows = rows_of([build.metrics(1), build.metrics(2), build.metrics(4, minute=1)])
    assert [(row["minute"], row["name"], row["value"]) for row in rows.counts] == [
        (26238213, "invocations", 3.0),
        (1, "invocations", 4.0),
    ]
    assert [row["counts"] for row in rows.histograms] == [{100: 3}, {100: 4}]
    key = {column.name for column in tables.metric_counts.primary_key}
    assert rows.counts[0].keys() == key | {"value"}
    assert rows.histograms[0].keys() == key | {"counts"}


def test_a_pair_becomes_a_whole_row_with_each_side_in_its_place():
    (row,) = rows_of([build.pair(shadow=answer(instance_id="s", latency_us=7, body=b"1"))]).pairs
    assert row.keys() == {column.name for column in tables.pairs.columns}
    assert (row["production_instance_id"], row["shadow_instance_id"]) == ("instance-p", "s")
    assert (row["production_latency_us"], row["shadow_latency_us"]) == (1500, 7)
    assert (row["same"], row["difference"]) == (False, "body") or row["difference"] == "truncated"


def test_exchanges_and_barriers_become_no_rows():
    rows = rows_of([build.exchange(), build.barrier()])
    assert (rows.counts, rows.histograms, rows.pairs) == ([], [], [])


def test_a_comparator_that_fails_is_told_and_the_row_is_there(monkeypatch):
    def fail(*_bodies):
        raise ZeroDivisionError

    monkeypatch.setattr(plan, "compare", fail)
    with structlog.testing.capture_logs() as logs:
        rows = rows_of([build.pair("a"), build.metrics(1), build.pair("b")])
    assert [(row["same"], row["difference"]) for row in rows.pairs] == [
        (None, "comparator_failed")
    ] * 2
    assert [(entry["event"], entry["event_id"]) for entry in logs] == [
        ("comparator_failed", "a"),
        ("comparator_failed", "b"),
    ]
    assert len(rows.counts) == 1
