"""Makes old metrics coarser, and deletes what is older than is kept: a piece a transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.store.telemetry.histograms import decode_counts, merge_histograms
from gnomon.store.telemetry.tables import (
    barriers,
    histogram_hours,
    label_keys,
    metric_counts,
    metric_histograms,
    pair_parts,
    pair_progress,
    pair_states,
)

# What one transaction takes: an hour of a busy machine's metrics are some thousand rows.
_PIECE_MINUTES = 60
_MINUTE_S = 60


async def coarsen(
    connection: AsyncConnection, from_minute: int, before_minute: int, step: int
) -> int:
    """Sums up what is in finer periods than `step` minutes, before a minute, from another one on.

    Does one piece, the oldest; gives the minute from which on there may be more: `before_minute`
    when all is done. Sums and histograms stay exact.
    """
    found = [
        await connection.scalar(
            select(func.min(table.c.minute)).where(
                table.c.minute >= from_minute,
                table.c.minute < before_minute,
                table.c.minute % step != 0,
            )
        )
        for table in (metric_counts, metric_histograms)
    ]
    oldest: int | None = min((minute for minute in found if minute is not None), default=None)
    if oldest is None:
        return before_minute
    begins = oldest - oldest % step
    ends = min(begins + _PIECE_MINUTES, before_minute)
    await _coarsen_counts(connection, begins, ends, step)
    await _coarsen_histograms(connection, begins, ends, step)
    return ends


async def delete_before(connection: AsyncConnection, minute: int) -> None:
    """Deletes the metrics of all minutes before one, and what else is kept of an experiment with
    the last of its metrics.

    Every pair is in the metrics too, in the same transaction: no metrics, no report.
    """
    touched = set(
        await connection.scalars(
            select(metric_counts.c.experiment_id)
            .where(metric_counts.c.minute < minute, metric_counts.c.experiment_id != "")
            .distinct()
        )
    )
    for table in (metric_counts, metric_histograms, histogram_hours):
        await connection.execute(delete(table).where(table.c.minute < minute))
    await connection.execute(delete(barriers).where(barriers.c.at_s < minute * _MINUTE_S))
    for experiment_id in touched:
        left = exists().where(metric_counts.c.experiment_id == experiment_id)
        if not await connection.scalar(select(left)):
            for table in (pair_states, pair_parts, pair_progress, label_keys):
                await connection.execute(
                    delete(table).where(table.c.experiment_id == experiment_id)
                )


async def _coarsen_counts(connection: AsyncConnection, begins: int, ends: int, step: int) -> None:
    table = metric_counts
    fine = _finer(table, begins, ends, step)
    key: dict[str, ColumnElement[Any]] = {
        column.name: column for column in table.primary_key.columns
    }
    key["minute"] = table.c.minute - table.c.minute % step
    summed = select(*key.values(), func.sum(table.c.value)).where(fine).group_by(*key.values())
    insert = sqlite.insert(table)
    await connection.execute(
        insert.from_select([*key, "value"], summed).on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"value": table.c.value + insert.excluded.value},
        )
    )
    await connection.execute(delete(table).where(fine))


async def _coarsen_histograms(
    connection: AsyncConnection, begins: int, ends: int, step: int
) -> None:
    table = metric_histograms
    fine = _finer(table, begins, ends, step)
    rows = [
        {
            **row,
            "minute": row["minute"] - row["minute"] % step,
            "counts": decode_counts(row["counts"]),
        }
        for row in (await connection.execute(select(table).where(fine))).mappings()
    ]
    await merge_histograms(connection, table, rows)
    await connection.execute(delete(table).where(fine))


def _finer(table: Table, begins: int, ends: int, step: int) -> ColumnElement[bool]:
    minute = table.c.minute
    return and_(minute >= begins, minute < ends, minute % step != 0)
