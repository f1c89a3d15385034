import io

from examples.demo.flights import Flight
from examples.demo.report_view import (
    Accuracy,
    accuracy_of,
    notes,
    report_lines,
    table,
    verdict_lines,
)
from rich.console import Console


def side(variant, invocations, latency):
    return {
        "variant": variant,
        "invocations": invocations,
        "errors_4xx": 1,
        "errors_5xx": 2,
        "model_errors": 6,
        "requests_per_s_per_instance": None if latency is None else 12.34,
        "latency_ms": dict.fromkeys(("p50", "p90", "p99"), latency),
    }


REPORT = {
    "experiment": {"sampling_percentage": 50},
    "production": side("logistic", 8000, 1.234),
    "shadow": side("boosting", 3938, None),
    "mirror": {
        "candidates": 8000,
        "sampled": 3940,
        "mirrored": 3938,
        "dropped": {"over_budget": 2, "refused": 0},
    },
    "pairs": {"pairs": 3938, "same": 3700, "different": 238, "unknown": 0, "agreement": 0.9396},
}


def printed():
    text = io.StringIO()
    nothing = Accuracy(0, 0)
    lines = report_lines(REPORT, Accuracy(3, 4), nothing, nothing)
    Console(file=text, width=100).print(table(REPORT, lines))
    return text.getvalue()


def test_both_sides_stand_beside_each_other():
    (row,) = [line for line in printed().splitlines() if "invocations" in line]
    assert row.index("8,000") < row.index("3,938")


def test_what_is_not_known_yet_is_a_dash():
    rows = [line.split() for line in printed().splitlines() if "p50" in line]
    assert rows == [
        ["│", "latency", "of", "the", "model,", "p50", "│", "1.23", "ms", "│", "-", "│"]
    ]


def test_errors_that_have_no_status_are_counted_apart():
    assert "1, 2, 3" in printed()


def test_accuracy_is_the_share_of_right_answers():
    flights = [Flight(12, "", is_late=True), Flight(12, "", is_late=False)]
    # The third is the first flight again.
    assert accuracy_of([(0, "1"), (1, "1"), (2, "1")], flights) == Accuracy(right=2, answers=3)


def test_accuracy_says_of_how_many():
    assert str(Accuracy(3, 4)) == "75.00% of 4"


def test_notes_name_what_was_dropped_and_expected():
    text = "\n".join(notes(REPORT))
    assert "2 over_budget" in text
    assert "refused" not in text
    assert "3,940 of 8,000" in text
    assert "4,000 expected" in text
    assert "93.96%" in text


def test_the_verdict_comes_with_its_reasons_and_each_rule():
    rule = {"name": "slow_down", "state": "met", "reason": "the interval is within 1.1."}
    verdict = {"status": "undecided", "reasons": ["There are 9 pairs."], "rules": [rule]}
    assert verdict_lines({"analysis": {"verdict": verdict}}) == [
        "Gnomon's verdict: undecided. There are 9 pairs.",
        "  slow_down: met, the interval is within 1.1.",
    ]
