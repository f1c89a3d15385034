"""Reports as control gives them, with a real analysis of pairs that are made up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.model.analysis import AnalysisSettings, Task
from gnomon.stats.analysis import summarise
from gnomon.stats.comparators import Comparison
from gnomon.stats.histogram import bucket_bounds
from gnomon.stats.predictions import Prediction
from gnomon.stats.state import PairState
from gnomon.stats.verdict import Circumstances
from gnomon.testing.frames import answer, pair

# A quarter of the default, so that few pairs fill enough blocks for a typical slow-down.
_BLOCK_S = 0.25
_PAIRS_A_SECOND = 40.0
# Typical of production, with a spread of a third.
_LATENCY_US = 4_000.0


def pair_state(
    pairs: int,
    *,
    slow_down: float = 1.0,
    paths: tuple[str, ...] = (),
    differ: float = 0.0,
    predictions: tuple[tuple[Prediction, Prediction], ...] = (),
    not_compared: int = 0,
    hashed: Callable[[str], str] | None = None,
) -> PairState:
    """Pairs of which a share `differ`s at `paths`, with `predictions` in turn, their labels as
    `hashed` gives them.
    """
    generator = random.Random(7)
    state = PairState(round(_BLOCK_S * 1e6))
    for number in range(pairs):
        latency_us = round(_LATENCY_US * generator.lognormvariate(0, 0.3))
        shadow_us = round(latency_us * slow_down * generator.lognormvariate(0, 0.05))
        comparison = Comparison(same=True)
        if generator.random() < differ:
            comparison = Comparison(False, "body", paths, 1 + generator.random())
        if number < not_compared:
            comparison = Comparison(None, "not_compared")
        if predictions:
            comparison = Comparison(
                comparison.same,
                comparison.reason,
                comparison.paths,
                comparison.distance,
                (predictions[number % len(predictions)],),
            )
        state.add(
            pair(
                f"event-{number:05}",
                at_s=number / _PAIRS_A_SECOND,
                production=answer(latency_us=latency_us),
                shadow=answer(latency_us=shadow_us),
            ),
            comparison,
            hashed,
        )
    return state


def report_of(
    state: PairState,
    *,
    task: Task | None = None,
    is_contended: bool = False,
    destination: str | None = None,
) -> dict[str, Any]:
    """What control says of an experiment `delays` with these pairs."""
    settings = AnalysisSettings(task=task, block_s=_BLOCK_S)
    circumstances = Circumstances(
        copies_sampled=state.pairs,
        is_contended=is_contended,
        seconds=state.pairs / _PAIRS_A_SECOND,
    )
    # As it comes over HTTP.
    analysis = msgspec.json.decode(msgspec.json.encode(summarise(state, settings, circumstances)))
    return {
        "experiment": {
            "name": "delays",
            "arn": "arn:aws:sagemaker:us-east-1:000000000000:inference-experiment/delays",
            "status": "Running",
            "status_reason": None,
            "endpoint": "flights",
            "starts_at": 0.0,
            "ends_at": 604_800.0,
            "completed_at": None,
            "sampling_percentage": 50,
        },
        "seconds": circumstances.seconds,
        "production": _variant("current", state.pairs),
        "shadow": _variant("next", state.pairs),
        "mirror": {
            "candidates": 2 * state.pairs,
            "sampled": state.pairs,
            "mirrored": state.pairs,
            "not_sampled": state.pairs,
            "opted_out": 0,
            "dropped": {"over_budget": 0},
            "failed": {},
        },
        "pairs": {
            "pairs": state.pairs,
            "same": state.answers.same,
            "different": state.answers.differ,
            "unknown": sum(state.answers.unknown.values()),
            "agreement": analysis["same"] / analysis["compared"] if analysis["compared"] else None,
            "shadow_errors": 0,
        },
        "captures": {"destination": destination},
        "lost": {"captures": 0, "pairs": 0},
        "noise": {"repeated": 0, "dropped": 0},
        "cut": {"captures": 0},
        "gaps": [],
        "torn": [],
        "away": [],
        "ejected": {},
        "analysis": {
            "id": "01JDANALYSIS",
            "since_s": 0.0,
            "settings": msgspec.json.decode(msgspec.json.encode(settings)),
            "guardrails": {"stop_when_broken": False, "promote_when_ready": False},
            "is_contended": is_contended,
            **analysis,
        },
        "distributions": {
            "production": _buckets(state.latencies.production),
            "shadow": _buckets(state.latencies.shadow),
        },
        "progress": _progress(analysis, circumstances.seconds),
    }


def _variant(name: str, invocations: int) -> dict[str, Any]:
    unknown: dict[str, float | None] = dict.fromkeys(("p50", "p90", "p99"))
    return {
        "variant": name,
        "invocations": invocations,
        "errors_4xx": 0,
        "errors_5xx": 0,
        "model_errors": 0,
        "requests_per_s_per_instance": _PAIRS_A_SECOND if invocations else None,
        "latency_ms": {"p50": 4.0, "p90": 5.9, "p99": 8.1} if invocations else unknown,
        "first_chunk_ms": unknown,
        "by_instance": {},
    }


def _buckets(counts: dict[int, int]) -> list[list[int]]:
    return [[*bucket_bounds(index), count] for index, count in sorted(counts.items())]


def _progress(analysis: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """An interval that narrows to the one that was found, as one that is watched does."""
    measure = analysis["verdict"]["rules"][0]["measure"]
    low, high = (measure["interval"].get(key) for key in ("low", "high"))
    change = measure["change"]
    if change is None:
        return []
    found = []
    for step in range(1, 41):
        wider = (40 / step) ** 0.5
        known = low is not None and high is not None and step > 4
        found.append(
            {
                "at_s": seconds * step / 40,
                "pairs": analysis["pairs"] * step // 40,
                "change": change,
                "low": change - (change - low) * wider if known else None,
                "high": change + (high - change) * wider if known else None,
            }
        )
    return found
