"""What rows the frames of the spool become. Pure but for what it logs.

`apply` writes them, `capture` has the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from gnomon.model.analysis import ComparisonSettings
from gnomon.spool.frames import Answer, Frame, MetricDelta, Metrics, Pair
from gnomon.spool.merge import merge_metrics
from gnomon.stats.comparators import Comparison, compare

log = structlog.get_logger()


@dataclass(frozen=True)
class Rows:
    """Rows of the telemetry tables, as their columns; those of metrics have distinct keys."""

    counts: list[dict[str, Any]]
    histograms: list[dict[str, Any]]
    pairs: list[dict[str, Any]]


def rows_of(frames: Iterable[Frame]) -> Rows:
    """The rows that frames become, metrics added up. Exchanges and barriers become none."""
    metrics: list[Metrics] = []
    rows = Rows([], [], [])
    settings = ComparisonSettings()
    for frame in frames:
        if isinstance(frame, Metrics):
            metrics.append(frame)
        elif isinstance(frame, Pair):
            rows.pairs.append(_pair_row(frame, settings))
    for delta in merge_metrics(metrics).deltas:
        key = _metric_key(delta)
        rows.counts.extend(
            {**key, "name": name, "value": value} for name, value in delta.counts.items()
        )
        rows.histograms.extend(
            {**key, "name": name, "counts": counts} for name, counts in delta.histograms.items()
        )
    return rows


def compare_answers(production: Answer, shadow: Answer, settings: ComparisonSettings) -> Comparison:
    """Whether two answers say the same; unknown where one is missing or its body was cut."""
    if production.failure or shadow.failure:
        return Comparison(same=None, reason="no_answer")
    if production.status != shadow.status:
        return Comparison(same=False, reason="status", distance=1.0)
    if _is_cut(production) or _is_cut(shadow):
        known = production.sha256 is not None and production.sha256 == shadow.sha256
        if known and production.body_bytes == shadow.body_bytes:
            return Comparison(same=True)
        return Comparison(same=None, reason="truncated")
    return compare(
        production.content_type, production.body, shadow.content_type, shadow.body, settings
    )


def _is_cut(answer: Answer) -> bool:
    return len(answer.body) < answer.body_bytes


def _metric_key(delta: MetricDelta) -> dict[str, Any]:
    return {
        "endpoint_id": delta.endpoint_id,
        "minute": delta.minute,
        "variant_id": delta.variant_id,
        "instance_id": delta.instance_id,
        "experiment_id": delta.experiment_id,
    }


def _comparison(pair: Pair, settings: ComparisonSettings) -> Comparison:
    try:
        return compare_answers(pair.production, pair.shadow, settings)
    except Exception:
        # What models answer is anybody's bytes: one odd answer must not hold up all behind it.
        log.exception("comparator_failed", experiment_id=pair.experiment_id, event_id=pair.event_id)
        return Comparison(same=None, reason="comparator_failed")


def _pair_row(pair: Pair, settings: ComparisonSettings) -> dict[str, Any]:
    comparison = _comparison(pair, settings)
    return {
        "experiment_id": pair.experiment_id,
        "event_id": pair.event_id,
        "endpoint_id": pair.endpoint_id,
        "at_s": pair.at_s,
        "production_variant_id": pair.production_variant_id,
        "shadow_variant_id": pair.shadow_variant_id,
        "production_instance_id": pair.production.instance_id,
        "shadow_instance_id": pair.shadow.instance_id,
        "production_status": pair.production.status,
        "shadow_status": pair.shadow.status,
        "production_failure": pair.production.failure,
        "shadow_failure": pair.shadow.failure,
        "production_latency_us": pair.production.latency_us,
        "shadow_latency_us": pair.shadow.latency_us,
        "production_body_bytes": pair.production.body_bytes,
        "shadow_body_bytes": pair.shadow.body_bytes,
        "same": comparison.same,
        "difference": comparison.reason,
    }
