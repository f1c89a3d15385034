"""Writes to the telemetry database: each function is part of the caller's transaction.

That a batch of rows and the position that it was read up to are committed together is what makes
each row count once, and is the caller's to keep (the collector).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, delete, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.stats import state
from gnomon.stats.state import PairState
from gnomon.store.telemetry.histograms import Row, merge_histograms, upsert
from gnomon.store.telemetry.roll_ups import add_late
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

# The first points of a test's progress are so far apart; later ones, so that there are at most some
# hundreds.
_PROGRESS_S = 10.0
_PROGRESS_POINTS = 100.0


async def add_metric_counts(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Add `value` to what was counted; the rows' keys are distinct."""
    for table in (metric_counts, metric_totals):
        if rows:
            insert = sqlite.insert(table)
            total = table.c.value + insert.excluded.value
            await connection.execute(
                upsert(insert, table, {"value": total}), [_columns(table, row) for row in rows]
            )


async def add_metric_histograms(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Merge `counts` (bucket to count) into what is there; the rows' keys are distinct."""
    await merge_histograms(connection, metric_histograms, rows)
    await merge_histograms(connection, histogram_totals, rows)
    await add_late(connection, rows)


async def add_pairs(
    connection: AsyncConnection,
    experiment_id: str,
    analysis_id: str,
    ends_us: int,
    added: PairState,
) -> None:
    """Add what is kept of some pairs of the blocks that end by `ends_us`, until `settle_pairs`."""
    key = {"experiment_id": experiment_id, "analysis_id": analysis_id, "ends_us": ends_us}
    table = pair_parts
    mine = [table.c[name] == value for name, value in key.items()]
    stored = await connection.scalar(select(table.c.state).where(*mine))
    part = added
    if stored is not None:
        part = state.decode(stored)
        part.merge(added)
    insert = sqlite.insert(table)
    await connection.execute(
        upsert(insert, table, {"state": insert.excluded.state}),
        {**key, "state": state.encode(part)},
    )


async def settle_pairs(connection: AsyncConnection, before_us: int) -> None:
    """Settle all pairs of blocks that end by `before_us`: none of theirs is in any spool.

    Time and again what there is of complete blocks is kept beside, for what a report shows over
    time.
    """
    table = pair_parts
    is_complete = table.c.ends_us <= before_us
    rows = await connection.execute(select(table).where(is_complete).order_by(*table.primary_key))
    parts: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
    for experiment_id, analysis_id, ends_us, stored in rows:
        parts.setdefault((experiment_id, analysis_id), []).append((ends_us, stored))
    for key, mine in parts.items():
        await _settle(connection, *key, mine)
    await connection.execute(delete(table).where(is_complete))


async def _settle(
    connection: AsyncConnection,
    experiment_id: str,
    analysis_id: str,
    parts: Sequence[tuple[int, bytes]],
) -> None:
    of = {"experiment_id": experiment_id, "analysis_id": analysis_id}
    table = pair_states
    stored = await connection.scalar(
        select(table.c.state).where(
            table.c.experiment_id == experiment_id, table.c.analysis_id == analysis_id
        )
    )
    whole = None if stored is None else state.decode(stored)
    for ends_us, part in parts:
        if whole is None:
            whole = state.decode(part)
        else:
            whole.merge(state.decode(part))
        whole.settle(ends_us)
    if whole is None:
        return
    insert = sqlite.insert(table)
    await connection.execute(
        upsert(insert, table, {"state": insert.excluded.state}),
        {**of, "state": state.encode(whole)},
    )
    await _note_progress(connection, of, whole)


async def add_label_key(connection: AsyncConnection, experiment_id: str, wrapped: bytes) -> None:
    """Keep the wrapped key under which an experiment's labels are hashed; the first one stays."""
    row = {"experiment_id": experiment_id, "wrapped": wrapped}
    await connection.execute(sqlite.insert(label_keys).on_conflict_do_nothing(), row)


async def _note_progress(
    connection: AsyncConnection, of: Mapping[str, str], whole: PairState
) -> None:
    """A point now and then: at most some hundreds of them, however long a test runs."""
    at_s = whole.complete_us / 1e6
    mine = [pair_progress.c[name] == value for name, value in of.items()]
    first_s, last_s = (
        await connection.execute(
            select(func.min(pair_progress.c.at_s), func.max(pair_progress.c.at_s)).where(*mine)
        )
    ).one()
    if last_s is not None:
        age_s = max(0.0, at_s - first_s)
        if at_s < last_s + max(_PROGRESS_S, age_s / _PROGRESS_POINTS):
            return
    if whole.settled.ratios_by_block.blocks:
        row = {
            **of,
            "at_s": at_s,
            "pairs": whole.pairs,
            "blocks": msgspec.msgpack.encode(whole.settled),
        }
        await connection.execute(sqlite.insert(pair_progress).on_conflict_do_nothing(), row)


async def add_barrier(
    connection: AsyncConnection, barrier_id: str, incarnation_id: str, at_s: float
) -> None:
    """Note that an incarnation reached a barrier. May be repeated."""
    row = {"barrier_id": barrier_id, "incarnation_id": incarnation_id, "at_s": at_s}
    await connection.execute(sqlite.insert(barriers).on_conflict_do_nothing(), row)


async def add_unwritten_captures(
    connection: AsyncConnection, incarnation_id: str, capture_ids: Collection[str]
) -> None:
    """Note that an incarnation's spool has objects of these captures that cannot be written. May be
    repeated.
    """
    for capture_id in sorted(capture_ids):
        row = {"incarnation_id": incarnation_id, "capture_id": capture_id}
        await connection.execute(sqlite.insert(unwritten_captures).on_conflict_do_nothing(), row)


async def set_unwritten_captures(
    connection: AsyncConnection, incarnation_id: str, capture_ids: Collection[str]
) -> None:
    """Note that it has such objects of these captures and of no other."""
    await connection.execute(
        delete(unwritten_captures).where(unwritten_captures.c.incarnation_id == incarnation_id)
    )
    await add_unwritten_captures(connection, incarnation_id, capture_ids)


async def add_torn_segment(
    connection: AsyncConnection, incarnation_id: str, segment: int, at_s: float, torn_bytes: int
) -> None:
    """Note that a segment, written last at `at_s`, ends in no whole frame. May be repeated."""
    row = {
        "incarnation_id": incarnation_id,
        "segment": segment,
        "at_s": at_s,
        "torn_bytes": torn_bytes,
    }
    await connection.execute(sqlite.insert(torn_segments).on_conflict_do_nothing(), row)


async def set_position(
    connection: AsyncConnection,
    incarnation_id: str,
    segment: int,
    offset: int,
    *,
    objects_done: bool,
) -> None:
    """Note how far a segment has been read, and whether its objects are written."""
    insert = sqlite.insert(spool_positions)
    changed = {
        "offset": insert.excluded.offset,
        "objects_done": insert.excluded.objects_done,
    }
    await connection.execute(
        upsert(insert, spool_positions, changed),
        {
            "incarnation_id": incarnation_id,
            "segment": segment,
            "offset": offset,
            "objects_done": objects_done,
        },
    )


async def forget_positions_before(
    connection: AsyncConnection, incarnation_id: str, segment: int
) -> None:
    """Drop the positions of done segments before `segment`, whose files are gone."""
    await connection.execute(
        delete(spool_positions).where(
            spool_positions.c.incarnation_id == incarnation_id,
            spool_positions.c.segment < segment,
            spool_positions.c.objects_done,
        )
    )


async def finish_incarnation(
    connection: AsyncConnection, incarnation_id: str, at_s: float, *, cut_off_at_s: float | None
) -> None:
    """Note that a dead incarnation is read to its end, and when it was cut off, if it was.

    May be repeated, and the first time counts: later there may be less of it to tell that from.
    """
    await connection.execute(
        sqlite.insert(finished_incarnations).on_conflict_do_nothing(),
        {"incarnation_id": incarnation_id, "at_s": at_s, "cut_off_at_s": cut_off_at_s},
    )


async def forget_positions(connection: AsyncConnection, incarnation_id: str) -> None:
    """Drop all positions of an incarnation whose segments are done."""
    await connection.execute(
        delete(spool_positions).where(spool_positions.c.incarnation_id == incarnation_id)
    )


def _columns(table: Table, row: Row) -> dict[str, Any]:
    return {column.name: row[column.name] for column in table.columns}
