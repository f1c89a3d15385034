"""What comparing costs: pairs a second on one core, a report over ten million of them, and
GetMetricStatistics over a month.

A pair is compared and added to a state, as the collector does. Where both answers are the same byte
for byte less is done; the goals are for answers that differ in some of their values. The report
reads, merges and sums up what is kept of each minute.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec

from bench.kit import month
from bench.kit.report import Report
from bench.kit.rounds import in_turn
from bench.kit.versions import versions_of
from gnomon.model.analysis import AnalysisSettings, ComparisonSettings
from gnomon.stats.analysis import summarise
from gnomon.stats.comparators import compare
from gnomon.stats.state import PairState, decode, encode
from gnomon.stats.verdict import Circumstances

_REPORT_PAIRS = 10_000_000
_PAIRS_A_MINUTE = 60_000
# Minutes that are made anew; the rest repeat them, which merging does not know.
_DIFFERENT_MINUTES = 3
_BLOCK_US = 1_000_000
_KIB = 1024


@dataclass(frozen=True)
class Answer:
    status: int
    failure: str
    latency_us: int
    body_bytes: int = 300


@dataclass(frozen=True)
class Pair:
    event_id: str
    at_s: float
    production: Answer
    shadow: Answer


@dataclass
class Case:
    """Two answers that are compared again and again, and how many pairs a second, by round."""

    name: str
    label: str
    content_type: str
    production: bytes
    shadow: bytes
    goal: float | None
    per_s: list[float] = field(default_factory=list)


def run(*, quick: bool) -> Report:
    rounds, share = (1, 0.05) if quick else (5, 1.0)
    cases = _cases()
    for number in range(rounds):
        for case in in_turn(cases, number):
            case.per_s.append(_per_s(case, share))
    pairs = round(_REPORT_PAIRS * share)
    rows = _minutes(pairs)
    report_ms = median(_milliseconds(lambda: _reported(rows)) for _ in range(rounds))
    figures = {f"{case.name}_pairs_per_s": median(case.per_s) for case in cases}
    asked = {f"month_{name}": value for name, value in month.measure(share, rounds).items()}
    return Report(
        figures={**figures, "report_ms": report_ms, **asked},
        versions=versions_of(["msgspec", "numpy", "scipy"], []),
        header=["", "bytes", "pairs/s"],
        rows=[
            *(
                [case.label, f"{len(case.production):,}", f"{median(case.per_s):,.0f}"]
                for case in cases
            ),
            [f"report over {pairs:,} pairs in {len(rows)} minutes", "", f"{report_ms:.0f} ms"],
            *(
                [f"a month's {question}, by the hour", "", f"{asked[name]:.0f} ms"]
                for name, question in month.QUESTIONS.items()
            ),
        ],
        notes=["One core's CPU time; comparing and adding to the state together."],
        goals={
            **{f"{case.name}_pairs_per_s": (">=", case.goal) for case in cases if case.goal},
            "report_ms": ("<=", 200),
            **dict.fromkeys(asked, ("<=", 100)),
        },
    )


def _cases() -> list[Case]:
    document, other = _document(0.8125, "late"), _document(0.8124, "on time")
    table, other_table = _table(1), _table(2)
    batch, other_batch = _batch(0.0), _batch(1e-6)
    kind, csv = "application/json", "text/csv"
    return [
        Case("json_300_same", "JSON of 300 bytes, the same", kind, document, document, None),
        Case("json_300", "JSON of 300 bytes, two values differ", kind, document, other, 10_000),
        Case("csv", "CSV of 4 rows, all values differ", csv, table, other_table, 15_000),
        Case("json_64k_same", "JSON of 64 KiB, the same", kind, batch, batch, None),
        Case("json_64k", "JSON of 64 KiB, all values differ", kind, batch, other_batch, 300),
    ]


def _document(score: float, label: str) -> bytes:
    answer = {
        "predictions": [{"label": label, "score": score, "probabilities": [1 - score, score]}],
        "model": {"name": "flights", "version": 3, "trained_at": "2013-11-20T23:33:12Z"},
        "features": {f"feature_{number}": number * 1.25 for number in range(6)},
    }
    return json.dumps(answer).encode()


def _table(seed: int) -> bytes:
    draw = random.Random(seed).random
    return "\n".join(",".join(f"{draw():.6f}" for _ in range(4)) for _ in range(4)).encode()


def _batch(shift: float) -> bytes:
    draw = random.Random(3).random
    rows = [[draw() + shift for _ in range(10)] for _ in range(320)]
    return json.dumps({"predictions": rows}).encode()[: 65 * _KIB]


def _per_s(case: Case, share: float) -> float:
    """Pairs a second of this process' CPU time."""
    settings = ComparisonSettings()
    pairs = _pairs(max(3, round(share * (20_000 if len(case.production) < _KIB else 400))))
    state = PairState(_BLOCK_US)
    began_s = time.process_time()
    for pair in pairs:
        comparison = compare(
            case.content_type, case.production, case.content_type, case.shadow, settings
        )
        state.add(pair, comparison)
    return len(pairs) / (time.process_time() - began_s)


def _pairs(count: int, seed: int = 1) -> list[Pair]:
    generator = random.Random(seed)
    return [
        Pair(
            f"01JD{seed:02}{number:020}",
            number / 1000,
            Answer(200, "", int(generator.lognormvariate(9, 0.5))),
            Answer(200, "", int(generator.lognormvariate(9, 0.5))),
        )
        for number in range(count)
    ]


def _minutes(pairs: int) -> list[bytes]:
    """What is stored of so many pairs."""
    made = []
    case = _cases()[1]
    for seed in range(_DIFFERENT_MINUTES):
        state = PairState(_BLOCK_US)
        settings = ComparisonSettings()
        for number, pair in enumerate(_pairs(_PAIRS_A_MINUTE, seed)):
            shadow = case.shadow if number % 50 == 0 else case.production
            state.add(
                pair,
                compare(case.content_type, case.production, case.content_type, shadow, settings),
            )
        state.settle(_PAIRS_A_MINUTE)
        made.append(encode(state))
    return [made[number % len(made)] for number in range(max(1, pairs // _PAIRS_A_MINUTE))]


def _reported(rows: Sequence[bytes]) -> bytes:
    whole = PairState(_BLOCK_US)
    for row in rows:
        whole.merge(decode(row))
    return msgspec.json.encode(summarise(whole, AnalysisSettings(), Circumstances(seconds=3600.0)))


def _milliseconds(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return (time.process_time() - began_s) * 1000
