"""Applies metrics and pairs of a segment to the telemetry database, each once.

Rows and the offset that they were read up to are committed in one transaction: a collector that
is killed between two batches, or in the middle of one, carries on where the last commit stands.
Exchanges and barriers are left to `objects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from gnomon.collector.plan import Rows, rows_of
from gnomon.spool import segment
from gnomon.spool.frames import Frame
from gnomon.store.database import Database
from gnomon.store.telemetry import ingest

_ROW_KINDS = frozenset({segment.METRICS, segment.PAIR})
# One transaction: some MiB of frames in memory, and a lock held for well under a second.
_BATCH_FRAMES = 1000
_BATCH_BYTES = 8 * 1024 * 1024


def batches(reader: segment.SegmentReader) -> Iterator[Rows]:
    """The rows of a segment from where its reader stands; after each, the reader is behind it."""
    frames: list[Frame] = []
    start = reader.offset
    for offset, frame in reader:
        frames.append(frame)
        if len(frames) >= _BATCH_FRAMES or offset - start >= _BATCH_BYTES:
            yield rows_of(frames)
            frames = []
            start = offset
    if frames:
        yield rows_of(frames)


async def apply_rows(
    database: Database, incarnation_id: str, number: int, path: Path, offset: int
) -> segment.SegmentReader:
    """Apply what segment `number` holds behind `offset`; gives the reader, at the segment's end.

    The committed offset may stand before that of the reader, by frames that become no rows.
    """
    reader = segment.SegmentReader(path, offset, _ROW_KINDS)
    rows_left = batches(reader)
    while (rows := await asyncio.to_thread(next, rows_left, None)) is not None:
        async with database.writing() as connection:
            await ingest.add_metric_counts(connection, rows.counts)
            await ingest.add_metric_histograms(connection, rows.histograms)
            await ingest.add_pairs(connection, rows.pairs)
            await ingest.set_position(
                connection, incarnation_id, number, reader.offset, objects_done=False
            )
    return reader
