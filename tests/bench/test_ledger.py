"""What a soak counts in the spool, and what it says when the counts do not add up."""

from __future__ import annotations

from collections import Counter

import pytest
from bench.kit.ledger import Ledger

from gnomon.spool.frames import Answer, Exchange, MetricDelta, Metrics, Pair
from gnomon.testing.router_rig import endpoint, variant

SOAKED = endpoint("soaked", variant("prod", 1), shadow=variant("shadow", 2))
OTHER = "e-other"


def counted(variant_id: str, endpoint_id: str = SOAKED.id, **counts: float) -> Metrics:
    # Two of a name's parts are joined by a dot, which no keyword can have.
    named = {name.replace("__", "."): count for name, count in counts.items()}
    return Metrics([MetricDelta(endpoint_id, variant_id, "", "", 1, named, {})])


def captured(variant_name: str) -> Exchange:
    return Exchange("c", SOAKED.name, variant_name, "id", None, 0.0, 200, None, None, None, None)


def pair(status: int = 200, failure: str = "") -> Pair:
    production = Answer("i", 200, "", 1, None, b"", 0)
    shadow = Answer("s", status, failure, 1, None, b"", 0)
    return Pair("x", SOAKED.id, "v-prod", "v-shadow", "id", 0.0, production, shadow)


def whole() -> list:
    """Four requests: one answered, one 500, one reset by the shadow, one dropped."""
    return [
        counted("v-prod", invocations=4),
        counted("v-shadow", candidates=4, sampled=4, mirrored=2, errors_5xx=1, dropped__refused=1),
        counted("v-shadow", mirrored=1, failed__reset=1),
        counted("v-prod", OTHER, invocations=9),
        *(captured("prod") for _ in range(4)),
        *(captured("shadow") for _ in range(3)),
        pair(),
        pair(500),
        pair(0, "reset"),
    ]


def ledger(frames: list) -> Ledger:
    made = Ledger()
    for frame in frames:
        made.add(frame, SOAKED)
    return made


def test_counts_that_add_up_leave_nothing_to_say():
    made = ledger(whole())
    assert made.differences(SOAKED, 4, 4) == []
    assert made.dropped == {"refused": 1}
    assert made.pairs == Counter({"": 2, "reset": 1})


@pytest.mark.parametrize("number", [0, 1, 2, *range(4, 14)])
def test_whatever_is_missing_is_said(number):
    frames = whole()
    del frames[number]
    assert ledger(frames).differences(SOAKED, 4, 4)


@pytest.mark.parametrize("number", range(4, 14))
def test_whatever_is_there_twice_is_said(number):
    frames = whole()
    frames.append(frames[number])
    assert ledger(frames).differences(SOAKED, 4, 4)


def test_a_request_more_at_the_client_or_at_the_model_is_said():
    assert ledger(whole()).differences(SOAKED, 4, 5) == [
        "requests sent: 4, but answered by the model: 5."
    ]
    assert len(ledger(whole()).differences(SOAKED, 5, 4)) == 6


def test_records_that_were_lost_and_counted_are_not_missing():
    frames = [frame for frame in whole() if not isinstance(frame, Exchange)]
    frames += [counted("v-prod", captures_lost=4), counted("v-shadow", captures_lost=3)]
    frames = [frame for frame in frames if not isinstance(frame, Pair)]
    frames.append(counted("v-shadow", pairs_lost=3))
    assert ledger(frames).differences(SOAKED, 4, 4) == []


def test_a_segment_that_was_left_open_is_said(tmp_path):
    (tmp_path / "incarnation").mkdir()
    (tmp_path / "incarnation" / "00000001.open").write_bytes(b"torn")
    made = ledger(whole())
    made.read(tmp_path, SOAKED, is_ended=False)
    assert made.differences(SOAKED, 4, 4) == []
    made.read(tmp_path, SOAKED, is_ended=True)
    assert len(made.differences(SOAKED, 4, 4)) == 1
