"""Judges an experiment by what is kept of its pairs. Used by reports and by guardrails.

How figures come about is `gnomon.stats`'s; what is judged by is the experiment's own, or the
settings'. The numerics are loaded when they are first asked for, and run in a thread.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gnomon.control.contention import is_contended
from gnomon.control.spans import Span
from gnomon.model import metric
from gnomon.model.analysis import (
    AnalysisRecord,
    AnalysisSettings,
    Guardrails,
    default_record,
)
from gnomon.stats.histogram import bucket_bounds
from gnomon.stats.state import PairState
from gnomon.store.database import Database
from gnomon.store.state.analyses import analyses_of
from gnomon.store.telemetry import queries
from gnomon.store.telemetry.queries import InstanceMetrics, Progress

if TYPE_CHECKING:
    # Numpy and scipy behind it take a second and 60 MB.
    from gnomon.stats.figures import Analysis


@dataclass(frozen=True)
class Judged:
    """An experiment's analysis, with what it was made of."""

    record: AnalysisRecord
    is_contended: bool
    # Of all pairs; figures are of complete blocks until the experiment is over.
    state: PairState
    figures: Analysis
    progress: list[dict[str, Any]]


@dataclass(frozen=True)
class Judge:
    """Reads both databases; writes nothing."""

    state: Database
    telemetry: Database
    defaults: AnalysisSettings
    guardrails: Guardrails

    async def record(self, experiment_id: str) -> AnalysisRecord:
        """How an experiment is judged."""
        async with self.state.reading() as connection:
            own = await analyses_of(connection, [experiment_id])
        return own.get(experiment_id) or self.default_record(experiment_id)

    def default_record(self, experiment_id: str) -> AnalysisRecord:
        """How it is judged if it has no settings of its own."""
        return default_record(experiment_id, self.defaults, self.guardrails)

    async def judge(
        self,
        experiment_id: str,
        shadow: Sequence[InstanceMetrics],
        span: Span | None,
        *,
        is_over: bool = False,
    ) -> Judged:
        """The analysis as of now. `shadow` is what was counted for the shadow variant in the whole
        test, which ran for `span`.

        Of what is not over, blocks are judged from which no pair is missing: the last ones to come
        are those of slow answers.
        """
        record = await self.record(experiment_id)
        seconds = span.seconds if span else 0.0
        async with self.telemetry.reading() as connection:
            if record.since_s is not None and span is not None:
                # Pairs began anew: what stands beside them is of the whole minutes since.
                seconds = min(seconds, max(0.0, span.ends_s - record.since_s))
                scope = queries.Scope(
                    experiment_id=experiment_id, from_minute=math.ceil(record.since_s / 60)
                )
                variants = {one.variant_id for one in shadow}
                found = await queries.metrics(connection, scope)
                shadow = [one for one in found if one.variant_id in variants]
            pairs = await queries.pair_state(connection, experiment_id, record.id)
            complete = pairs
            if not is_over:
                complete = await queries.complete_pairs(connection, experiment_id, record.id)
            progress = await queries.pair_progress_of(connection, experiment_id, record.id)
        none = PairState(block_us=round(record.settings.block_s * 1e6))
        counts = summed(shadow)
        return await asyncio.to_thread(
            _judged,
            record,
            pairs or none,
            complete or none,
            progress,
            copies(counts),
            is_contended(counts),
            seconds,
        )


@dataclass(frozen=True)
class Copies:
    """Of the copies that were drawn, how many there were, and how many have no pair."""

    sampled: int
    dropped: int


def summed(metrics: Sequence[InstanceMetrics]) -> dict[str, float]:
    """What was counted, whatever the instance. Pure."""
    counts: dict[str, float] = {}
    for item in metrics:
        for name, value in item.counts.items():
            counts[name] = counts.get(name, 0.0) + value
    return counts


def copies(counts: Mapping[str, float]) -> Copies:
    """From what was counted for a shadow variant. Pure."""
    dropped = sum(value for name, value in counts.items() if name.startswith(metric.DROPPED_PREFIX))
    return Copies(
        round(counts.get(metric.SAMPLED, 0.0)),
        round(dropped + counts.get(metric.PAIRS_LOST, 0.0)),
    )


def _judged(
    record: AnalysisRecord,
    pairs: PairState,
    complete: PairState,
    progress: Sequence[Progress],
    counts: Copies,
    contended: bool,
    seconds: float,
) -> Judged:
    from gnomon.stats.analysis import summarise  # noqa: PLC0415 - see above
    from gnomon.stats.verdict import Circumstances, rule_alpha  # noqa: PLC0415

    figures = summarise(
        complete,
        record.settings,
        Circumstances(
            copies_sampled=counts.sampled,
            copies_dropped=counts.dropped,
            is_contended=contended,
            seconds=seconds,
        ),
    )
    rules = figures.verdict.rules
    alpha = rule_alpha(record.settings) if rules else record.settings.alpha
    points = [_point(one, pairs.block_us, alpha) for one in progress]
    newest = Progress(_newest_s(complete), complete.pairs, complete.settled_with_open())
    if complete.pairs and (not points or points[-1]["at_s"] < newest.at_s):
        points.append(_point(newest, pairs.block_us, alpha))
    return Judged(record, contended, pairs, figures, points)


def _newest_s(pairs: PairState) -> float:
    newest_us = max(pairs.blocks, default=0) * pairs.block_us
    return max(newest_us, pairs.complete_us) / 1e6


def _point(progress: Progress, block_us: int, alpha: float) -> dict[str, Any]:
    from gnomon.stats.figures import Interval  # noqa: PLC0415
    from gnomon.stats.measures import slow_down_of_blocks  # noqa: PLC0415

    change, interval = slow_down_of_blocks(progress.blocks, block_us, alpha)
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
    return {
        "at_s": progress.at_s,
        "pairs": progress.pairs,
        "change": change,
        "low": low,
        "high": high,
    }


def analysis_json(judged: Judged) -> dict[str, Any]:
    """What a report says of an analysis. Pure."""
    record = judged.record
    return {
        "id": record.id,
        "since_s": record.since_s,
        "settings": msgspec.to_builtins(record.settings),
        "guardrails": msgspec.to_builtins(record.guardrails),
        "is_contended": judged.is_contended,
        **msgspec.to_builtins(judged.figures),
    }


def pairs_json(pairs: PairState) -> dict[str, Any]:
    """The pairs in brief. Pure."""
    answers = pairs.answers
    return {
        "pairs": pairs.pairs,
        "same": answers.same,
        "different": answers.differ,
        "unknown": sum(answers.unknown.values()),
        "agreement": answers.same / answers.compared if answers.compared else None,
        "shadow_errors": {
            outcome: count
            for outcome, count in sorted(pairs.shadow_outcomes.items())
            if outcome not in {"1xx", "2xx", "3xx"}
        },
    }


def distributions_json(pairs: PairState) -> dict[str, list[tuple[int, int, int]]]:
    """Latencies of the pairs: from, up to (microseconds), how many; in order. Pure."""
    return {
        name: [(*bucket_bounds(bucket), counts[bucket]) for bucket in sorted(counts)]
        for name, counts in (
            ("production", pairs.latencies.production),
            ("shadow", pairs.latencies.shadow),
        )
    }
