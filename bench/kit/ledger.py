"""What a router's spool says of one endpoint, summed up, and whether it all adds up.

It reads the spool as the collector does, and takes away what it has read. Every request must turn
up once in each place where it has to, or be counted there as lost for a reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gnomon.model import metric
from gnomon.model.snapshot import Endpoint
from gnomon.spool import segment
from gnomon.spool.frames import Exchange, Frame, Metrics, Pair


@dataclass
class Ledger:
    """Counts of one endpoint with a shadow, of which all is sampled and captured to one place.

    `production` and `shadow` are what was counted for the variants, by name; `captures` is by the
    variant's name; `pairs` is by the shadow's failure, empty where it answered.
    """

    production: Counter[str] = field(default_factory=Counter)
    shadow: Counter[str] = field(default_factory=Counter)
    captures: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    pairs_5xx: int = 0
    torn_bytes: int = 0

    def read(self, spool: Path, endpoint: Endpoint, *, is_ended: bool) -> None:
        """Take in the closed segments and remove them; with `is_ended` there may be no other."""
        for path in sorted(spool.glob(f"*/*{segment.CLOSED_SUFFIX}")):
            self._read(path, endpoint)
        if is_ended:
            for path in sorted(spool.glob(f"*/*{segment.OPEN_SUFFIX}")):
                # Its writer was to close it: what is missing at its end is not known.
                self.torn_bytes += path.stat().st_size

    def _read(self, path: Path, endpoint: Endpoint) -> None:
        reader = segment.SegmentReader(path)
        for _, frame in reader:
            self.add(frame, endpoint)
        self.torn_bytes += reader.torn_bytes
        path.unlink()

    def add(self, frame: Frame, endpoint: Endpoint) -> None:
        if isinstance(frame, Metrics):
            for delta in frame.deltas:
                if delta.endpoint_id != endpoint.id:
                    continue
                is_production = delta.variant_id == endpoint.production[0].id
                counts = self.production if is_production else self.shadow
                for name, count in delta.counts.items():
                    # All that is looked at here are whole numbers.
                    counts[name] += round(count)
        elif isinstance(frame, Exchange) and frame.endpoint_name == endpoint.name:
            self.captures[frame.variant_name] += 1
        elif isinstance(frame, Pair) and frame.endpoint_id == endpoint.id:
            self.pairs[frame.shadow.failure] += 1
            self.pairs_5xx += frame.shadow.status >= 500

    @property
    def dropped(self) -> dict[str, int]:
        """Copies that were not made or not read to their end, by reason."""
        prefix = metric.DROPPED_PREFIX
        return {
            name.removeprefix(prefix): count
            for name, count in sorted(self.shadow.items())
            if name.startswith(prefix)
        }

    def differences(self, endpoint: Endpoint, sent: int, answered: int) -> list[str]:
        """A sentence for each two counts that are not the same.

        `sent` is as the client counts, `answered` as the model does.
        """
        production, shadow = self.production, self.shadow
        mirrored = shadow[metric.MIRRORED]
        shadow_name = endpoint.shadow.variant.name if endpoint.shadow else ""
        failed = {
            name.removeprefix(metric.FAILED_PREFIX): count
            for name, count in shadow.items()
            if name.startswith(metric.FAILED_PREFIX)
        }
        checks = [
            ("requests sent", sent, "answered by the model", answered),
            ("requests sent", sent, "invocations counted", production[metric.INVOCATIONS]),
            ("requests sent", sent, "candidates counted", shadow[metric.CANDIDATES]),
            ("requests sent", sent, "mirrored or dropped", mirrored + sum(self.dropped.values())),
            ("requests sent", sent, "sampled", shadow[metric.SAMPLED]),
            (
                "requests sent",
                sent,
                "production's captures, kept or lost",
                self.captures[endpoint.production[0].name] + production[metric.CAPTURES_LOST],
            ),
            (
                "copies mirrored",
                mirrored,
                "pairs, kept or lost",
                self.pairs.total() + shadow[metric.PAIRS_LOST],
            ),
            (
                "copies mirrored",
                mirrored,
                "the shadow's captures, kept or lost",
                self.captures[shadow_name] + shadow[metric.CAPTURES_LOST],
            ),
            ("bytes at the spool's end that are no frame", self.torn_bytes, "as it is to be", 0),
        ]
        if not shadow[metric.PAIRS_LOST]:
            # What a pair says is what was counted for it.
            checks += [
                ("pairs with a 5xx", self.pairs_5xx, "counted", shadow[metric.ERRORS_5XX]),
                *(
                    (
                        f"pairs that failed by {name}",
                        self.pairs[name],
                        "counted",
                        failed.get(name, 0),
                    )
                    for name in sorted({*self.pairs, *failed} - {""})
                ),
            ]
        return [f"{first}: {a:,}, but {second}: {b:,}." for first, a, second, b in checks if a != b]
