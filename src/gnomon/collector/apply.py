"""Applies metrics and pairs of a segment to the telemetry database, each once.

Rows and the offset that they were read up to are committed in one transaction: a collector that
is killed between two batches, or in the middle of one, carries on where the last commit stands.
Exchanges and barriers are left to `objects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gnomon.collector.comparator import UserComparator
from gnomon.collector.labels import label_keys
from gnomon.collector.plan import Analyses, experiments_of, rows_of
from gnomon.spool import segment
from gnomon.spool.frames import Complete, Frame
from gnomon.spool.sealing import FrameOpener
from gnomon.store.database import Database
from gnomon.store.telemetry import ingest

_ROW_KINDS = frozenset({segment.METRICS, segment.PAIR, segment.NOISE, segment.COMPLETE})
# One transaction: some MiB of frames in memory, and a lock held for well under a second.
_BATCH_FRAMES = 1000
_BATCH_BYTES = 8 * 1024 * 1024
# What is compared of what comes faster than it can be: where so much waits, one pair in ten.
_MANY_BYTES = 32 * 1024 * 1024
_COMPARED_OF = 10


@dataclass(frozen=True)
class Applied:
    """Where a segment was read to, and up to when all that its writer had to say of requests is
    applied (epoch seconds; 0 if it did not say).
    """

    offset: int
    complete_s: float


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
    opener: FrameOpener,
    users: Mapping[str, UserComparator],
    waiting_elsewhere: Callable[[], int],
) -> Applied:
    """Apply what segment `number` holds behind `offset`.

    The committed offset may stand before that which was read, by frames that become no rows.
    `waiting_elsewhere` gives how many bytes of other segments were not read yet.
    """
    complete_s = 0.0
    reader = segment.SegmentReader(path, offset, _ROW_KINDS, opener)
    frames_left = batches(reader)
    while (frames := await asyncio.to_thread(next, frames_left, None)) is not None:
        rows_from = [frame for frame in frames if not isinstance(frame, Complete)]
        said_s = max((frame.at_s for frame in frames if isinstance(frame, Complete)), default=0.0)
        complete_s = max(complete_s, said_s)
        if not rows_from:
            continue
        analyses = await analyses_of(experiments_of(rows_from))
        waiting_bytes = reader.size_bytes - reader.offset + waiting_elsewhere()
        share = compared_of(waiting_bytes)
        keys = await label_keys(database, reader.wrapped_keys, opener)
        rows = await asyncio.to_thread(rows_of, rows_from, analyses, share, users, keys.hashes)
        async with database.writing() as connection:
            await ingest.add_metric_counts(connection, rows.counts)
            await ingest.add_metric_histograms(connection, rows.histograms)
            for part, state in rows.pairs.items():
                await ingest.add_pairs(connection, *part, state)
            for experiment_id, wrapped in keys.new.items():
                await ingest.add_label_key(connection, experiment_id, wrapped)
            await ingest.set_position(
                connection, incarnation_id, number, reader.offset, objects_done=False
            )
    return Applied(reader.offset, complete_s)


def compared_of(waiting_bytes: int) -> int:
    """One in how many pairs is compared where so much of the spool waits behind them. Pure."""
    return 1 if waiting_bytes < _MANY_BYTES else _COMPARED_OF
