"""What the router counts, by endpoint, variant, instance and experiment.

`flush` turns what changed into one `Metrics` frame a second; a frame that the spool does not take
is added up with the next. The names are those of `gnomon.model.metric`.
"""

from __future__ import annotations

from typing import Protocol

from gnomon.model import metric
from gnomon.router.totals import Totals
from gnomon.spool.frames import Frame, MetricDelta, Metrics
from gnomon.spool.merge import merge_metrics
from gnomon.spool.sealing import FrameSeal
from gnomon.stats.histogram import bucket_of

_US = 1_000_000
_MINUTE_S = 60
# A flush is about the second before it; its middle decides the minute.
_HALF_A_FLUSH_S = 0.5


class Spool(Protocol):
    """Where frames go: `gnomon.spool.writer.SpoolWriter`."""

    @property
    def trouble(self) -> str:
        """A sentence on what keeps frames from being kept now, or nothing."""

    def append(self, frame: Frame, seal: FrameSeal | None = None) -> bool:
        """Take the frame, sealed or not, without waiting; False if it was dropped."""


class Cell:
    """The counts of one (endpoint, variant, instance, experiment) since the last flush.

    What every request counts is in fields of its own: four additions a request in one call each
    cost less than a dozen look-ups by name.
    """

    __slots__ = (
        "_candidates",
        "_changed",
        "_counts",
        "_first_chunk_us",
        "_first_chunks",
        "_in_flight",
        "_in_flight_sum",
        "_invocations",
        "_is_changed",
        "_key",
        "_latencies",
        "_latency_us",
        "_mirrored",
        "_overhead_us",
        "_overheads",
        "_per_instance",
    )

    def __init__(self, key: tuple[str, str, str, str], changed: list[Cell]) -> None:
        self._key = key
        self._changed = changed
        self._begin()

    def _begin(self) -> None:
        self._is_changed = False
        self._invocations = 0
        self._per_instance = 0.0
        self._candidates = 0
        self._mirrored = 0
        self._counts: dict[str, float] = {}
        self._latencies: dict[int, int] = {}
        self._latency_us = 0
        self._overheads: dict[int, int] = {}
        self._overhead_us = 0
        self._first_chunks: dict[int, int] = {}
        self._first_chunk_us = 0
        self._in_flight: dict[int, int] = {}
        self._in_flight_sum = 0

    def add(self, name: str) -> None:
        """Count one of what is rare."""
        self._counts[name] = self._counts.get(name, 0) + 1
        self._change()

    def answered(self, status: int, instances: int, latency_s: float, overhead_s: float) -> None:
        """One invocation that the model answered, on a variant with so many instances."""
        self._invoked(instances)
        latency_us = int(latency_s * _US)
        bucket = bucket_of(latency_us)
        self._latencies[bucket] = self._latencies.get(bucket, 0) + 1
        self._latency_us += latency_us
        overhead_us = int(overhead_s * _US)
        bucket = bucket_of(overhead_us)
        self._overheads[bucket] = self._overheads.get(bucket, 0) + 1
        self._overhead_us += overhead_us
        if not 200 <= status < 300:
            self.add(metric.MODEL_ERRORS)
            if status >= 400:
                self.add(metric.ERRORS_4XX if status < 500 else metric.ERRORS_5XX)

    @property
    def has_invocations(self) -> bool:
        """Whether one ended since the last flush."""
        return self._invocations > 0

    def in_flight(self, count: int) -> None:
        """So many requests are in flight now."""
        bucket = bucket_of(count)
        self._in_flight[bucket] = self._in_flight.get(bucket, 0) + 1
        self._in_flight_sum += count
        self._change()

    def first_chunk(self, latency_s: float) -> None:
        """Of an answer that is streamed, and counted by another call."""
        first_chunk_us = int(latency_s * _US)
        bucket = bucket_of(first_chunk_us)
        self._first_chunk_us += first_chunk_us
        self._first_chunks[bucket] = self._first_chunks.get(bucket, 0) + 1
        self._change()

    def unanswered(self, instances: int, failure: str, waited_s: float | None = None) -> None:
        """One invocation without an answer; `waited_s` if it is its latency all the same."""
        self._invoked(instances)
        self.add(metric.MODEL_ERRORS)
        self.add(metric.FAILED_PREFIX + failure)
        if waited_s is not None:
            latency_us = int(waited_s * _US)
            bucket = bucket_of(latency_us)
            self._latencies[bucket] = self._latencies.get(bucket, 0) + 1
            self._latency_us += latency_us

    def broken_off(self, instances: int) -> None:
        """One invocation that the router ended; no fault of the model's."""
        self._invoked(instances)

    def candidate(self) -> None:
        self._candidates += 1
        if not self._is_changed:
            self._change()

    def mirrored(self) -> None:
        self._mirrored += 1
        if not self._is_changed:
            self._change()

    def dropped(self, reason: str) -> None:
        self.add(metric.SAMPLED)
        self.add(metric.DROPPED_PREFIX + reason)

    def take(self, minute: int) -> MetricDelta:
        """The counts so far; from here on it counts from nothing."""
        counts = self._counts
        for name, count in (
            (metric.INVOCATIONS, self._invocations),
            (metric.INVOCATIONS_PER_INSTANCE, self._per_instance),
            (metric.CANDIDATES, self._candidates),
            (metric.MIRRORED, self._mirrored),
            (metric.SAMPLED, self._mirrored),
            (metric.MODEL_LATENCY_US + metric.SUM_SUFFIX, self._latency_us),
            (metric.OVERHEAD_LATENCY_US + metric.SUM_SUFFIX, self._overhead_us),
            (metric.FIRST_CHUNK_US + metric.SUM_SUFFIX, self._first_chunk_us),
            (metric.CONCURRENT_REQUESTS + metric.SUM_SUFFIX, self._in_flight_sum),
        ):
            if count:
                counts[name] = counts.get(name, 0) + count
        histograms = {
            name: histogram
            for name, histogram in (
                (metric.MODEL_LATENCY_US, self._latencies),
                (metric.OVERHEAD_LATENCY_US, self._overheads),
                (metric.FIRST_CHUNK_US, self._first_chunks),
                (metric.CONCURRENT_REQUESTS, self._in_flight),
            )
            if histogram
        }
        self._begin()
        return MetricDelta(*self._key, minute, counts, histograms)

    def _invoked(self, instances: int) -> None:
        self._invocations += 1
        if instances:
            self._per_instance += 1 / instances
        if not self._is_changed:
            self._change()

    def _change(self) -> None:
        if not self._is_changed:
            self._is_changed = True
            self._changed.append(self)


class Counters:
    """All cells that changed, and what the spool did not take yet. With `totals`, all is added up
    there, too.
    """

    def __init__(self, spool: Spool, totals: Totals | None = None) -> None:
        self._spool = spool
        self._totals = totals
        self._changed: list[Cell] = []
        self._unsent: Metrics | None = None

    def cell(self, endpoint_id: str, variant_id: str, instance_id: str, experiment_id: str) -> Cell:
        """A new cell; who counts with it keeps it."""
        return Cell((endpoint_id, variant_id, instance_id, experiment_id), self._changed)

    def flush(self, now_s: float) -> bool:
        """Hand over what was counted; False if some of it must wait. `now_s` is epoch seconds."""
        minute = int((now_s - _HALF_A_FLUSH_S) // _MINUTE_S)
        deltas = [cell.take(minute) for cell in self._changed]
        # Cells hold this very list.
        self._changed.clear()
        if self._totals is not None:
            self._totals.add(deltas)
        frame = Metrics(deltas) if deltas else None
        if self._unsent is not None:
            frame = merge_metrics([self._unsent, *([frame] if frame else [])])
        self._unsent = frame if frame is not None and not self._spool.append(frame) else None
        return self._unsent is None
