"""Reads of the telemetry database, for the API, the reports and the end of experiments.

What the figures mean together (rates, intervals, verdicts) is left to `gnomon.stats`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import ColumnElement, Table, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.stats import state
from gnomon.stats.blocks import Settled
from gnomon.stats.histogram import Histogram
from gnomon.stats.state import PairState
from gnomon.store.telemetry.histograms import decode_counts
from gnomon.store.telemetry.tables import (
    barriers,
    finished_incarnations,
    histogram_totals,
    label_keys,
    metric_counts,
    metric_histograms,
    metric_totals,
    pair_parts,
    pair_progress,
    pair_states,
    spool_positions,
    torn_segments,
    unwritten_captures,
)

_blocks_decoder = msgspec.msgpack.Decoder(Settled)


@dataclass(frozen=True)
class Scope:
    """Which rows: of one experiment or one endpoint; from one minute up to, not with, another."""

    experiment_id: str | None = None
    endpoint_id: str | None = None
    from_minute: int | None = None
    to_minute: int | None = None

    def __post_init__(self) -> None:
        if (self.experiment_id is None) == (self.endpoint_id is None):
            raise ValueError("a scope is one experiment or one endpoint")


@dataclass(frozen=True)
class InstanceMetrics:
    """All that was counted for one variant on one instance (empty where there was none)."""

    variant_id: str
    instance_id: str
    counts: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """The complete blocks of an experiment's pairs at a moment, in epoch seconds."""

    at_s: float
    pairs: int
    blocks: Settled


async def metrics(connection: AsyncConnection, scope: Scope) -> list[InstanceMetrics]:
    """Sums and merged histograms of a scope, by variant and instance."""
    found: dict[tuple[str, str], InstanceMetrics] = {}

    def of(variant_id: str, instance_id: str) -> InstanceMetrics:
        return found.setdefault((variant_id, instance_id), InstanceMetrics(variant_id, instance_id))

    counts = metric_counts.c
    summed = await connection.execute(
        select(counts.variant_id, counts.instance_id, counts.name, func.sum(counts.value))
        .where(*_within(metric_counts, scope))
        .group_by(counts.variant_id, counts.instance_id, counts.name)
    )
    for variant_id, instance_id, name, value in summed:
        of(variant_id, instance_id).counts[name] = value
    stored = metric_histograms.c
    rows = await connection.execute(
        select(stored.variant_id, stored.instance_id, stored.name, stored.counts).where(
            *_within(metric_histograms, scope)
        )
    )
    for variant_id, instance_id, name, blob in rows:
        histograms = of(variant_id, instance_id).histograms
        histograms.setdefault(name, Histogram()).merge(decode_counts(blob))
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True)
class Totals:
    """All that was counted for one variant since its endpoint was made."""

    endpoint_id: str
    variant_id: str
    counts: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)


async def totals(connection: AsyncConnection) -> list[Totals]:
    """The totals of every variant that ever was."""
    found: dict[tuple[str, str], Totals] = {}
    for endpoint_id, variant_id, name, value in await connection.execute(select(metric_totals)):
        key = (endpoint_id, variant_id)
        found.setdefault(key, Totals(*key)).counts[name] = value
    for endpoint_id, variant_id, name, counts in await connection.execute(select(histogram_totals)):
        key = (endpoint_id, variant_id)
        found.setdefault(key, Totals(*key)).histograms[name] = Histogram(decode_counts(counts))
    return [found[key] for key in sorted(found)]


async def pair_state(
    connection: AsyncConnection, experiment_id: str, analysis_id: str
) -> PairState | None:
    """What is kept of all of an experiment's pairs by one of its analyses; None without any."""
    table = pair_parts.c
    whole = await complete_pairs(connection, experiment_id, analysis_id)
    parts = await connection.scalars(
        select(table.state)
        .where(table.experiment_id == experiment_id, table.analysis_id == analysis_id)
        .order_by(table.ends_us)
    )
    for stored in parts:
        if whole is None:
            whole = state.decode(stored)
        else:
            whole.merge(state.decode(stored))
    return whole


async def complete_pairs(
    connection: AsyncConnection, experiment_id: str, analysis_id: str
) -> PairState | None:
    """The same of the pairs of complete blocks: slow answers may be missing from the others."""
    table = pair_states.c
    stored = await connection.scalar(
        select(table.state).where(
            table.experiment_id == experiment_id, table.analysis_id == analysis_id
        )
    )
    return None if stored is None else state.decode(stored)


async def has_pairs_before(connection: AsyncConnection, before_us: int) -> bool:
    """Whether pairs of blocks that end by then wait to be settled."""
    left = exists().where(pair_parts.c.ends_us <= before_us)
    return bool(await connection.scalar(select(left)))


async def pair_progress_of(
    connection: AsyncConnection, experiment_id: str, analysis_id: str
) -> list[Progress]:
    """How it came about, oldest first."""
    table = pair_progress.c
    rows = await connection.execute(
        select(table.at_s, table.pairs, table.blocks)
        .where(table.experiment_id == experiment_id, table.analysis_id == analysis_id)
        .order_by(table.at_s)
    )
    return [Progress(at_s, pairs, _blocks_decoder.decode(blocks)) for at_s, pairs, blocks in rows]


async def label_keys_of(
    connection: AsyncConnection, experiment_ids: Collection[str]
) -> dict[str, bytes]:
    """By experiment, the wrapped key under which its labels are hashed, if they are."""
    table = label_keys.c
    rows = await connection.execute(
        select(table.experiment_id, table.wrapped).where(
            table.experiment_id.in_(list(experiment_ids))
        )
    )
    return {row.experiment_id: row.wrapped for row in rows}


async def reached_barrier(
    connection: AsyncConnection, barrier_id: str, capture_id: str | None
) -> frozenset[str]:
    """The incarnations all of whose records before the barrier are in, captured objects of this
    capture too; of other captures some may wait for their destination. A dead one that is read to
    its end has reached it without writing it.
    """
    unwritten = select(unwritten_captures.c.incarnation_id).where(
        unwritten_captures.c.capture_id == capture_id
    )
    wrote = select(barriers.c.incarnation_id).where(
        barriers.c.barrier_id == barrier_id, barriers.c.incarnation_id.not_in(unwritten)
    )
    ended = select(finished_incarnations.c.incarnation_id).where(
        finished_incarnations.c.incarnation_id.not_in(unwritten)
    )
    return frozenset(await connection.scalars(wrote.union(ended)))


async def finished(connection: AsyncConnection, incarnation_ids: Collection[str]) -> frozenset[str]:
    """Which of these incarnations are dead, and all that they had to say is in."""
    column = finished_incarnations.c.incarnation_id
    unwritten = select(unwritten_captures.c.incarnation_id)
    return frozenset(
        await connection.scalars(
            select(column).where(column.in_(list(incarnation_ids)), column.not_in(unwritten))
        )
    )


async def unwritten_captures_of(connection: AsyncConnection, incarnation_id: str) -> frozenset[str]:
    """The captures whose objects in this incarnation's spool are noted as not written."""
    return frozenset(
        await connection.scalars(
            select(unwritten_captures.c.capture_id).where(
                unwritten_captures.c.incarnation_id == incarnation_id
            )
        )
    )


@dataclass(frozen=True)
class CutOff:
    """A router that died with something unwritten: when it wrote last, in epoch seconds."""

    incarnation_id: str
    at_s: float


async def cut_off(connection: AsyncConnection, from_s: float, to_s: float) -> list[CutOff]:
    """The incarnations that were cut off within this time, oldest first."""
    table = finished_incarnations.c
    rows = await connection.execute(
        select(table.incarnation_id, table.cut_off_at_s)
        .where(table.cut_off_at_s >= from_s, table.cut_off_at_s <= to_s)
        .order_by(table.cut_off_at_s)
    )
    return [CutOff(incarnation_id, at_s) for incarnation_id, at_s in rows]


@dataclass(frozen=True)
class TornSegment:
    """A segment of the spool that ended in so many bytes that are no whole frame."""

    incarnation_id: str
    at_s: float
    torn_bytes: int


async def torn(connection: AsyncConnection, from_s: float, to_s: float) -> list[TornSegment]:
    """Torn segments that were written last within this time, oldest first."""
    table = torn_segments.c
    rows = await connection.execute(
        select(table.incarnation_id, table.at_s, table.torn_bytes)
        .where(table.at_s >= from_s, table.at_s <= to_s)
        .order_by(table.at_s)
    )
    return [TornSegment(*row) for row in rows]


async def torn_count(connection: AsyncConnection) -> int:
    """How many segments were torn, ever."""
    return await connection.scalar(select(func.count()).select_from(torn_segments)) or 0


@dataclass(frozen=True)
class Position:
    """How far a segment of the spool has been read."""

    offset: int = 0
    objects_done: bool = False


async def positions(connection: AsyncConnection, incarnation_id: str) -> dict[int, Position]:
    """Segment number to how far it has been read, for one incarnation."""
    table = spool_positions.c
    rows = await connection.execute(
        select(table.segment, table.offset, table.objects_done).where(
            table.incarnation_id == incarnation_id
        )
    )
    return {segment: Position(offset, done) for segment, offset, done in rows}


def _within(table: Table, scope: Scope) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if scope.experiment_id is not None:
        conditions.append(table.c.experiment_id == scope.experiment_id)
    if scope.endpoint_id is not None:
        conditions.append(table.c.endpoint_id == scope.endpoint_id)
    if scope.from_minute is not None:
        conditions.append(table.c.minute >= scope.from_minute)
    if scope.to_minute is not None:
        conditions.append(table.c.minute < scope.to_minute)
    return conditions
