"""Applies metrics and pairs of a segment to the telemetry database, each once.

Rows and the offset that they were read up to are committed in one transaction: a collector that
is killed between two batches, or in the middle of one, carries on where the last commit stands.
Exchanges and barriers are left to `objects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from gnomon.collector.comparator import UserComparator
from gnomon.collector.labels import label_keys
from gnomon.collector.plan import Analyses, experiments_of, rows_of
from gnomon.spool import segment
from gnomon.spool.frames import Frame
from gnomon.spool.sealing import FrameOpener
from gnomon.store.database import Database
from gnomon.store.telemetry import ingest

_ROW_KINDS = frozenset({segment.METRICS, segment.PAIR, segment.NOISE})
# One transaction: some MiB of frames in memory, and a lock held for well under a second.
_BATCH_FRAMES = 1000
_BATCH_BYTES = 8 * 1024 * 1024
# What is compared of what comes faster than it can be: where so much waits, one pair in ten.
_MANY_BYTES = 32 * 1024 * 1024
_COMPARED_OF = 10


class AnalysesOf(Protocol):
    """How the pairs of experiments are compared and counted; an experiment without settings of its
    own has the defaults.
    """

    async def __call__(self, experiment_ids: Collection[str]) -> Analyses:
        """One for each of these experiments, whether it exists or not."""


def batches(reader: segment.SegmentReader) -> Iterator[list[Frame]]:
    """The frames of a segment from where its reader stands; after each, the reader is behind it."""
    frames: list[Frame] = []
    start = reader.offset
    for offset, frame in reader:
        frames.append(frame)
        if len(frames) >= _BATCH_FRAMES or offset - start >= _BATCH_BYTES:
            yield frames
            frames = []
            start = offset
    if frames:
        yield frames


async def apply_rows(
    database: Database,
    incarnation_id: str,
    number: int,
    path: Path,
    offset: int,
    analyses_of: AnalysesOf,
    settled_before_s: float,
    opener: FrameOpener,
    users: Mapping[str, UserComparator],
    waiting_elsewhere: Callable[[], int],
) -> segment.SegmentReader:
    """Apply what segment `number` holds behind `offset`; gives the reader, at the segment's end.

    The committed offset may stand before that of the reader, by frames that become no rows. No
    pair from before `settled_before_s` is in any spool. `waiting_elsewhere` gives how many bytes of
    other segments were not read yet.
    """
    reader = segment.SegmentReader(path, offset, _ROW_KINDS, opener)
    frames_left = batches(reader)
    while (frames := await asyncio.to_thread(next, frames_left, None)) is not None:
        analyses = await analyses_of(experiments_of(frames))
        waiting_bytes = reader.size_bytes - reader.offset + waiting_elsewhere()
        share = compared_of(waiting_bytes)
        keys = await label_keys(database, reader.wrapped_keys, opener)
        rows = await asyncio.to_thread(rows_of, frames, analyses, share, users, keys.hashes)
        async with database.writing() as connection:
            await ingest.add_metric_counts(connection, rows.counts)
            await ingest.add_metric_histograms(connection, rows.histograms)
            for (experiment_id, analysis_id), state in rows.pairs.items():
                await ingest.merge_pair_state(
                    connection, experiment_id, analysis_id, state, settled_before_s
                )
            for experiment_id, wrapped in keys.new.items():
                await ingest.add_label_key(connection, experiment_id, wrapped)
            await ingest.set_position(
                connection, incarnation_id, number, reader.offset, objects_done=False
            )
    return reader


def compared_of(waiting_bytes: int) -> int:
    """One in how many pairs is compared where so much of the spool waits behind them. Pure."""
    return 1 if waiting_bytes < _MANY_BYTES else _COMPARED_OF
