"""Reads of one metric over time, as CloudWatch asks for them: summed by period."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, Table, and_, cast, exists, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.retention import HOUR
from gnomon.stats.histogram import Histogram
from gnomon.store.telemetry.histograms import decode_counts
from gnomon.store.telemetry.roll_ups import rolled_up_before
from gnomon.store.telemetry.tables import histogram_hours, metric_counts, metric_histograms


@dataclass(frozen=True)
class Variant:
    """One variant of one endpoint, by ids."""

    endpoint_id: str
    variant_id: str


@dataclass(frozen=True)
class Periods:
    """Minutes from `from_minute` up to, not with, `to_minute`, in steps of `minutes`."""

    from_minute: int
    to_minute: int
    minutes: int


async def counts_by_period(
    connection: AsyncConnection, variants: Collection[Variant], name: str, periods: Periods
) -> dict[int, float]:
    """The index of a period to what was counted in it; periods without a count are left out."""
    summed: dict[int, float] = {}
    period = _period(metric_counts.c.minute, periods)
    for variant in variants:
        rows = await connection.execute(
            select(period, func.sum(metric_counts.c.value))
            .where(*_within(metric_counts, variant, name, periods))
            .group_by(period)
        )
        for index, value in rows:
            summed[index] = summed.get(index, 0.0) + value
    return summed


async def histograms_by_period(
    connection: AsyncConnection, variants: Collection[Variant], name: str, periods: Periods
) -> dict[int, Histogram]:
    """The same for histograms, merged exactly: hours that lie in one period from their sums."""
    merged: dict[int, Histogram] = {}
    rolled_up = await rolled_up_before(connection)
    fine_from = periods.from_minute
    if periods.from_minute % HOUR == 0 and periods.minutes % HOUR == 0:
        # Each hour lies in one period: the fine ones before need not be looked through.
        fine_from = max(fine_from, min(rolled_up, periods.to_minute // HOUR * HOUR))
    fine = metric_histograms
    parts = (
        (histogram_hours, _is_summed_up(histogram_hours, periods, rolled_up)),
        (fine, and_(fine.c.minute >= fine_from, not_(_is_summed_up(fine, periods, rolled_up)))),
    )
    for variant in variants:
        for table, is_read in parts:
            rows = await connection.execute(
                select(_period(table.c.minute, periods), table.c.counts).where(
                    *_within(table, variant, name, periods), is_read
                )
            )
            for index, stored in rows:
                counts = decode_counts(stored)
                if index in merged:
                    merged[index].merge(counts)
                else:
                    merged[index] = Histogram(counts)
    return merged


async def has_counts(
    connection: AsyncConnection, variant: Variant, name: str, since_minute: int
) -> bool:
    """Whether anything was counted under `name` from a minute on."""
    return await _has(connection, metric_counts, variant, name, since_minute)


async def has_histograms(
    connection: AsyncConnection, variant: Variant, name: str, since_minute: int
) -> bool:
    """Whether anything was measured under `name` from a minute on."""
    return await _has(connection, metric_histograms, variant, name, since_minute)


async def _has(
    connection: AsyncConnection, table: Table, variant: Variant, name: str, since_minute: int
) -> bool:
    found = exists().where(*_of(table, variant, name), table.c.minute >= since_minute)
    return bool(await connection.scalar(select(found)))


def _period(minute: ColumnElement[int], periods: Periods) -> ColumnElement[int]:
    # Both are whole numbers and none is negative: SQL's division rounds down.
    return cast((minute - periods.from_minute) // periods.minutes, Integer)


def _is_summed_up(table: Table, periods: Periods, rolled_up: int) -> ColumnElement[bool]:
    """Whether the hour that a row is of has a sum, and lies whole in one period."""
    hour = table.c.minute - table.c.minute % HOUR
    return and_(
        hour >= periods.from_minute,
        hour + HOUR <= min(periods.to_minute, rolled_up),
        _period(hour, periods) == _period(hour + HOUR - 1, periods),
    )


def _of(table: Table, variant: Variant, name: str) -> list[ColumnElement[bool]]:
    return [
        table.c.endpoint_id == variant.endpoint_id,
        table.c.name == name,
        table.c.variant_id == variant.variant_id,
    ]


def _within(
    table: Table, variant: Variant, name: str, periods: Periods
) -> list[ColumnElement[bool]]:
    return [
        *_of(table, variant, name),
        table.c.minute >= periods.from_minute,
        table.c.minute < periods.to_minute,
    ]
