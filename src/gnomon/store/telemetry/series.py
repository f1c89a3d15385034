"""Reads of one metric over time, as CloudWatch asks for them: summed by period."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, Table, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.stats.histogram import Histogram
from gnomon.store.telemetry.ingest import decode_counts
from gnomon.store.telemetry.tables import metric_counts, metric_histograms


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
    period = _period(metric_counts, periods)
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
    """The same for histograms, merged exactly."""
    merged: dict[int, Histogram] = {}
    for variant in variants:
        rows = await connection.execute(
            select(_period(metric_histograms, periods), metric_histograms.c.counts).where(
                *_within(metric_histograms, variant, name, periods)
            )
        )
        for index, counts in rows:
            merged.setdefault(index, Histogram()).merge(decode_counts(counts))
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


def _period(table: Table, periods: Periods) -> ColumnElement[int]:
    # Both are whole numbers and none is negative: SQL's division rounds down.
    return cast((table.c.minute - periods.from_minute) // periods.minutes, Integer)


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
