"""Sums of histograms over whole hours, kept beside the fine ones: asking for a month merges some
hundreds of them instead of some ten thousands.

Invariant: at the end of each transaction what is kept of an hour before `rolled_up_before` is the
exact sum of its fine histograms. `roll_up` moves that moment on, and what comes late for an hour
before it is added to both (`ingest`). Making fine ones coarser changes no hour's sum, and whole
hours are deleted with theirs (`retention`). `series` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.retention import HOUR
from gnomon.store.telemetry.histograms import Row, decode_counts, merge_histograms
from gnomon.store.telemetry.tables import histogram_hours, metric_histograms, rolled_up

_before_minute = select(rolled_up.c.before_minute)


async def rolled_up_before(connection: AsyncConnection) -> int:
    """The minute before which all hours are rolled up: the first of an hour."""
    minute: int = (await connection.scalars(_before_minute)).one()
    return minute


async def roll_up(connection: AsyncConnection, before_minute: int) -> int:
    """Sums up one hour, the oldest that is not, of those before a minute that begins an hour.

    Gives the minute from which on there may be more: `before_minute`, or a later one, when all is
    done.
    """
    # Locked where transactions run side by side (not on SQLite): what others add meanwhile, they
    # add late.
    done: int = (await connection.scalars(_before_minute.with_for_update())).one()
    if done >= before_minute:
        return done
    fine = metric_histograms
    oldest = await connection.scalar(
        select(func.min(fine.c.minute)).where(fine.c.minute >= done, fine.c.minute < before_minute)
    )
    if oldest is None:
        done = before_minute
    else:
        hour = oldest - oldest % HOUR
        done = hour + HOUR
        rows = await connection.execute(
            select(fine).where(fine.c.minute >= hour, fine.c.minute < done)
        )
        await _add(
            connection,
            [{**row, "counts": decode_counts(row["counts"])} for row in rows.mappings()],
        )
    await connection.execute(update(rolled_up).values(before_minute=done))
    return done


async def add_late(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Adds those of these fine rows, which are new, whose hours are rolled up already."""
    if rows:
        shared = _before_minute.with_for_update(read=True)
        done: int = (await connection.scalars(shared)).one()
        await _add(connection, [row for row in rows if row["minute"] < done])


async def _add(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    await merge_histograms(
        connection,
        histogram_hours,
        [{**row, "minute": row["minute"] - row["minute"] % HOUR} for row in rows],
    )
