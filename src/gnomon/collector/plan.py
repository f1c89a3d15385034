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
from gnomon.stats.state import Answers, PairState, encode

log = structlog.get_logger()

_MINUTE_S = 60
# Pairs are kept apart until those that came as early are all there, in parts of whole blocks that
# last so long at least.
_PART_US = 2_000_000
_NOT_COMPARED = Comparison(same=None, reason="not_compared")
_NOT_COUNTED = "not_counted"

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


@dataclass(frozen=True)
class _Compared:
    """A pair, or an answer given twice, that is to be counted."""

    frame: Pair | Noise
    comparison: Comparison
    analysis: AnalysisRecord
    hashed: LabelOf | None

    @property
    def key(self) -> Part:
        part_us = -(-_PART_US // self._block_us) * self._block_us
        ends_us = (int(self.frame.at_s * 1e6) // part_us + 1) * part_us
        return self.frame.experiment_id, self.analysis.id, ends_us

    @property
    def _block_us(self) -> int:
        return round(self.analysis.settings.block_s * 1e6)

    def empty(self) -> PairState:
        return PairState(self._block_us)

    def add_to(self, state: PairState) -> None:
        if isinstance(self.frame, Pair):
            state.add(self.frame, self.comparison, self.hashed)
        else:
            state.add_noise(self.frame.event_id, self.comparison)


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
    metrics: list[Metrics] = []
    compared: list[_Compared] = []
    for frame in frames:
        if isinstance(frame, Metrics):
            metrics.append(frame)
        elif isinstance(frame, Pair | Noise):
            analysis = analyses[frame.experiment_id]
            comparison = _comparison(frame, analysis, compared_of, users or {})
            hashed = (hashes or {}).get(frame.experiment_id)
            compared.append(_Compared(frame, comparison, analysis, hashed))
            if isinstance(frame, Pair):
                metrics.append(_metrics_of(frame, comparison))
    rows = Rows([], [], _states(compared))
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


def _metrics_of(pair: Pair, comparison: Comparison) -> Metrics:
    """What metrics have of a pair stands on the shadow."""
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


def _states(compared: list[_Compared]) -> dict[Part, PairState]:
    """What is kept of them all, which can be stored.

    What models answer is anybody's bytes: where one of them cannot be counted, or not be stored,
    each is tried by itself, and that one is unknown.
    """
    states: dict[Part, PairState] = {}
    try:
        for one in compared:
            if one.key not in states:
                states[one.key] = one.empty()
            one.add_to(states[one.key])
        for state in states.values():
            encode(state)
    except Exception:
        log.exception(_NOT_COUNTED)
        states = {}
        for one in compared:
            states.setdefault(one.key, one.empty()).merge(_alone(one))
    return states


def _alone(one: _Compared) -> PairState:
    """What is kept of one; without what was compared, or of its coming only, if that fails."""
    unknown = Comparison(same=None, reason=_NOT_COUNTED)
    for tried in (one, dataclasses.replace(one, comparison=unknown)):
        state = one.empty()
        try:
            tried.add_to(state)
            encode(state)
        except Exception as error:  # noqa: BLE001 - the log has all of one of them already
            log.warning(_NOT_COUNTED, event_id=one.frame.event_id, kind=type(error).__name__)
        else:
            return state
    state = one.empty()
    came = Answers(unknown={_NOT_COUNTED: 1})
    if isinstance(one.frame, Pair):
        state.pairs, state.answers = 1, came
    else:
        state.noise = came
    return state


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
        return Comparison(same=None, reason=unknown.reason, why=unknown.why)
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
    analysis: AnalysisRecord,
    compared_of: int,
    users: Mapping[str, UserComparator],
) -> Comparison:
    if compared_of > 1 and zlib.crc32(frame.event_id.encode()) % compared_of:
        return _NOT_COMPARED
    name = analysis.settings.comparator
    if name not in users and name not in NAMELESS:
        # It was in the settings when the experiment chose it.
        return Comparison(same=None, reason="comparator_missing")
    one, other = (
        (frame.production, frame.shadow) if isinstance(frame, Pair) else (frame.first, frame.second)
    )
    try:
        return compare_answers(one, other, analysis.settings.comparison, users.get(name))
    except Exception:
        # What models answer is anybody's bytes: one odd answer must not hold up all behind it.
        log.exception(
            "comparator_failed", experiment_id=frame.experiment_id, event_id=frame.event_id
        )
        return Comparison(same=None, reason="comparator_failed")
