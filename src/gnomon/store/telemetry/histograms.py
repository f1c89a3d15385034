"""How histograms lie in rows, and how they are added to what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Insert, Table, and_, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.stats.histogram import Histogram

Row = Mapping[str, Any]

_counts_decoder = msgspec.msgpack.Decoder(dict[int, int])


async def merge_histograms(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Merge `counts` into what `table` has under each row's key; several rows may share one."""
    key = list(table.primary_key.columns)
    merged: dict[tuple[Any, ...], Histogram] = {}
    for row in rows:
        of = tuple(row[column.name] for column in key)
        if of not in merged:
            stored = await connection.scalar(
                select(table.c.counts).where(
                    and_(*(column == value for column, value in zip(key, of, strict=True)))
                )
            )
            merged[of] = Histogram(None if stored is None else decode_counts(stored))
        merged[of].merge(row["counts"])
    if merged:
        insert = sqlite.insert(table)
        names = [column.name for column in key]
        await connection.execute(
            upsert(insert, table, {"counts": insert.excluded.counts}),
            [
                {
                    **dict(zip(names, of, strict=True)),
                    "counts": msgspec.msgpack.encode(whole.counts),
                }
                for of, whole in merged.items()
            ],
        )


def decode_counts(stored: bytes) -> dict[int, int]:
    """Bucket to count, from a row's `counts`."""
    return _counts_decoder.decode(stored)


def upsert(insert: sqlite.Insert, table: Table, changed: Mapping[str, Any]) -> Insert:
    """An insert that sets `changed` where the row's key is there already."""
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=dict(changed)
    )
