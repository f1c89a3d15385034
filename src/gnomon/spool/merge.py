"""Metric deltas added up, so that what waits for the disk, or for the database, stays small."""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.spool.frames import MetricDelta, Metrics

_Key = tuple[str, str, str, str, int]


def merge_metrics(frames: Iterable[Metrics]) -> Metrics:
    """One frame that says what all of them say: a delta for each variant, instance and minute."""
    merged: dict[_Key, MetricDelta] = {}
    for frame in frames:
        for delta in frame.deltas:
            key = (
                delta.endpoint_id,
                delta.variant_id,
                delta.instance_id,
                delta.experiment_id,
                delta.minute,
            )
            if key not in merged:
                merged[key] = MetricDelta(*key, counts={}, histograms={})
            _add(merged[key], delta)
    return Metrics(list(merged.values()))


def _add(whole: MetricDelta, part: MetricDelta) -> None:
    for name, value in part.counts.items():
        whole.counts[name] = whole.counts.get(name, 0.0) + value
    for name, counts in part.histograms.items():
        buckets = whole.histograms.setdefault(name, {})
        for bucket, count in counts.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
