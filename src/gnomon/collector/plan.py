"""What rows the frames of the spool become. Pure but for what it logs.

`apply` writes them, `capture` has the rest.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from gnomon.collector import comparing
from gnomon.collector.comparator import Unknown, UserComparator
from gnomon.collector.labels import LabelOf
from gnomon.model import metric
from gnomon.model.analysis import NAMELESS, AnalysisRecord, ComparisonSettings
from gnomon.spool.frames import Answer, Frame, MetricDelta, Metrics, Noise, Pair
from gnomon.spool.merge import merge_metrics
from gnomon.stats.comparators import Comparison, compare
from gnomon.stats.state import PairState

log = structlog.get_logger()

_MINUTE_S = 60
# Pairs are kept apart until those that came as early are all there, in parts of whole blocks that
# last so long at least.
_PART_US = 2_000_000
_NOT_COMPARED = Comparison(same=None, reason="not_compared")


# Experiment, analysis, and when (epoch microseconds) the blocks end that the pairs are of.
Part = tuple[str, str, int]
# By experiment: how its pairs are compared and counted.
Analyses = Mapping[str, AnalysisRecord]


@dataclass(frozen=True)
class Rows:
    """Rows of the metric tables, as their columns, with distinct keys; and what pairs left."""

    counts: list[dict[str, Any]]
    histograms: list[dict[str, Any]]
    pairs: dict[Part, PairState]


def experiments_of(frames: Iterable[Frame]) -> frozenset[str]:
    """The experiments whose pairs or noise are among the frames."""
    return frozenset(frame.experiment_id for frame in frames if isinstance(frame, Pair | Noise))


def rows_of(
    frames: Iterable[Frame],
    analyses: Analyses,
    compared_of: int = 1,
    users: Mapping[str, UserComparator] | None = None,
    hashes: Mapping[str, LabelOf] | None = None,
) -> Rows:
    """The rows that frames become, metrics added up. Exchanges and barriers become none.

    `analyses` has one for each experiment among the frames. One in `compared_of` pairs is compared,
    by its event id; of all, latencies and outcomes are counted. `users` are the comparators that
    analyses may name.
    Labels of the experiments in `hashes` are kept as those give.
    """
    users = users or {}
    metrics: list[Metrics] = []
    rows = Rows([], [], {})
    for frame in frames:
        if isinstance(frame, Metrics):
            metrics.append(frame)
        elif isinstance(frame, Pair):
            analysis = analyses[frame.experiment_id]
            hashed = (hashes or {}).get(frame.experiment_id)
            metrics.append(_count_pair(rows.pairs, frame, analysis, compared_of, users, hashed))
        elif isinstance(frame, Noise):
            _count_noise(rows.pairs, frame, analyses[frame.experiment_id], users)
    for delta in merge_metrics(metrics).deltas:
        key = _metric_key(delta)
        rows.counts.extend(
            {**key, "name": name, "value": value} for name, value in delta.counts.items()
        )
        for name, counts in delta.histograms.items():
            rows.histograms.append({**key, "name": name, "counts": counts})
            number = float(sum(counts.values()))
            rows.counts.append({**key, "name": name + metric.NUMBER_SUFFIX, "value": number})
    return rows


def _count_pair(
    pairs: dict[Part, PairState],
    pair: Pair,
    analysis: AnalysisRecord,
    compared_of: int,
    users: Mapping[str, UserComparator],
    hashed: LabelOf | None,
) -> Metrics:
    """Adds it to the state; what metrics have of it stands on the shadow."""
    if compared_of > 1 and zlib.crc32(pair.event_id.encode()) % compared_of:
        comparison = _NOT_COMPARED
    else:
        comparison = _comparison(pair, pair.production, pair.shadow, analysis, users)
    _state(pairs, pair, analysis).add(pair, comparison, hashed)
    counts = {metric.PAIRS: 1.0}
    if comparison.same is not None:
        counts[metric.DISAGREEMENTS if not comparison.same else metric.AGREEMENTS] = 1.0
    delta = MetricDelta(
        pair.endpoint_id,
        pair.shadow_variant_id,
        pair.shadow.instance_id,
        pair.experiment_id,
        int(pair.at_s // _MINUTE_S),
        counts,
        {},
    )
    return Metrics([delta])


def _count_noise(
    pairs: dict[Part, PairState],
    noise: Noise,
    analysis: AnalysisRecord,
    users: Mapping[str, UserComparator],
) -> None:
    comparison = _comparison(noise, noise.first, noise.second, analysis, users)
    _state(pairs, noise, analysis).add_noise(noise.event_id, comparison)


def _state(
    pairs: dict[Part, PairState], frame: Pair | Noise, analysis: AnalysisRecord
) -> PairState:
    block_us = round(analysis.settings.block_s * 1e6)
    part_us = -(-_PART_US // block_us) * block_us
    ends_us = (int(frame.at_s * 1e6) // part_us + 1) * part_us
    key = (frame.experiment_id, analysis.id, ends_us)
    if key not in pairs:
        pairs[key] = PairState(block_us)
    return pairs[key]


def compare_answers(
    production: Answer,
    shadow: Answer,
    settings: ComparisonSettings,
    user: UserComparator | None = None,
) -> Comparison:
    """Whether two answers say the same; unknown where one is missing or its body was cut.

    What they predict is Gnomon's to read, also where a user's comparator says the rest.
    """
    if production.failure or shadow.failure:
        return Comparison(same=None, reason="no_answer")
    if production.status != shadow.status:
        return Comparison(same=False, reason="status", distance=1.0)
    if _is_cut(production) or _is_cut(shadow):
        known = production.sha256 is not None and production.sha256 == shadow.sha256
        if known and production.body_bytes == shadow.body_bytes:
            return Comparison(same=True)
        return Comparison(same=None, reason="truncated")
    found = compare(
        production.content_type, production.body, shadow.content_type, shadow.body, settings
    )
    if user is None:
        return found
    try:
        distances = user.distances(_whole(production), _whole(shadow))
    except Unknown as unknown:
        return Comparison(same=None, reason=unknown.reason)
    return dataclasses.replace(
        found,
        same=not distances,
        reason="comparator" if distances else "",
        paths=tuple(path for path in distances if path),
        distance=max(distances.values(), default=0.0),
    )


def _whole(answer: Answer) -> comparing.Answer:
    return comparing.Answer(answer.status, answer.content_type, answer.body)


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


def _comparison(
    frame: Pair | Noise,
    one: Answer,
    other: Answer,
    analysis: AnalysisRecord,
    users: Mapping[str, UserComparator],
) -> Comparison:
    name = analysis.settings.comparator
    if name not in users and name not in NAMELESS:
        # It was in the settings when the experiment chose it.
        return Comparison(same=None, reason="comparator_missing")
    try:
        return compare_answers(one, other, analysis.settings.comparison, users.get(name))
    except Exception:
        # What models answer is anybody's bytes: one odd answer must not hold up all behind it.
        log.exception(
            "comparator_failed", experiment_id=frame.experiment_id, event_id=frame.event_id
        )
        return Comparison(same=None, reason="comparator_failed")
