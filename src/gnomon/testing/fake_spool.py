"""A spool in memory: what a router would have written, for a test to read."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from gnomon.spool.frames import Frame, Metrics
from gnomon.spool.sealing import FrameSeal

SomeFrame = TypeVar("SomeFrame", bound=Frame)


class FakeSpool:
    """Keeps what is appended; refuses everything while `is_full`. A test sets `trouble`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        # Those of them that were to be sealed.
        self.sealed: list[Frame] = []
        self.is_full = False
        self.trouble = ""

    def append(self, frame: Frame, seal: FrameSeal | None = None) -> bool:
        if not self.is_full:
            self.frames.append(frame)
            if seal is not None:
                self.sealed.append(frame)
        return not self.is_full

    def of(self, kind: type[SomeFrame]) -> list[SomeFrame]:
        """The frames of one kind, in order."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def counts(self, variant_id: str, *, instance_id: str | None = None) -> Counter[str]:
        """Everything counted for a variant, on all instances or on one, summed by name."""
        total: Counter[str] = Counter()
        for frame in self.of(Metrics):
            for delta in frame.deltas:
                if delta.variant_id == variant_id and instance_id in {None, delta.instance_id}:
                    for name, count in delta.counts.items():
                        total[name] += count  # type: ignore[assignment]
        return total
