"""What this router has counted since it began, by names, for Prometheus to read from it alone.

Made only where `server.metrics_port` is set. Its counterpart for all routers together is in
`gnomon.control.totals`; the text of both is `gnomon.stats.exposition`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gnomon.model.snapshot import Endpoint
from gnomon.spool.frames import MetricDelta

_Names = tuple[str, str]


@dataclass
class Total:
    """All of one variant's counts, and its histograms as bucket to count."""

    counts: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, dict[int, int]] = field(default_factory=dict)


class Totals:
    """`by_name` maps the names of an endpoint and a variant to what was counted for them. A variant
    that was removed and made anew goes on where it was; an endpoint that is deleted is forgotten.
    """

    def __init__(self) -> None:
        self.by_name: dict[_Names, Total] = {}
        # Endpoint id to variant id to names.
        self._names: dict[str, dict[str, _Names]] = {}

    def name(self, spec: Endpoint) -> None:
        """Learn the endpoint's names from its entry in the snapshot."""
        shadow = (spec.shadow.variant,) if spec.shadow else ()
        names = self._names.setdefault(spec.id, {})
        names.update((v.id, (spec.name, v.name)) for v in (*spec.production, *shadow))

    def forget(self, endpoint_id: str) -> None:
        """The endpoint is deleted."""
        for names in self._names.pop(endpoint_id, {}).values():
            self.by_name.pop(names, None)

    def add(self, deltas: Iterable[MetricDelta]) -> None:
        for delta in deltas:
            names = self._names.get(delta.endpoint_id, {}).get(delta.variant_id)
            if names is None:
                # Of an endpoint that was deleted while it answered.
                continue
            total = self.by_name.setdefault(names, Total())
            for name, value in delta.counts.items():
                total.counts[name] = total.counts.get(name, 0.0) + value
            for name, counts in delta.histograms.items():
                buckets = total.histograms.setdefault(name, {})
                for bucket, count in counts.items():
                    buckets[bucket] = buckets.get(bucket, 0) + count
