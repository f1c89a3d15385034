"""Whether what a process holds stays flat: its memory and its descriptors, looked at each second.

A process that has just begun still grows, so the first third of a run is left out. What is compared
are medians of the other two thirds: a peak that passes is none that stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import psutil

_INTERVAL_S = 0.5
_MIB = 1024**2
# By how much the last third may be above the middle one: a factor, and what chance may add to it.
_MEMORY_GROWTH = 1.05
_MEMORY_SLACK_MIB = 4.0
_DESCRIPTORS_GROWTH = 1.1
# Copies that hang hold one each, and how many do so varies.
_DESCRIPTORS_SLACK = 16.0
# Fewer samples in a third say nothing.
_LEAST_SAMPLES = 3


@dataclass
class Watch:
    """What was seen of one process so far."""

    pid: int
    memory_mib: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Look until cancelled."""
        process = psutil.Process(self.pid)
        while True:
            self._look(process)
            await asyncio.sleep(_INTERVAL_S)

    def run_for(self, duration_s: float) -> None:
        process = psutil.Process(self.pid)
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            self._look(process)
            time.sleep(_INTERVAL_S)

    def _look(self, process: psutil.Process) -> None:
        self.memory_mib.append(process.memory_info().rss / _MIB)
        self.descriptors.append(float(process.num_fds()))

    def figures(self, prefix: str) -> dict[str, float]:
        memory, descriptors = thirds(self.memory_mib), thirds(self.descriptors)
        return {
            f"{prefix}_memory_middle_mib": memory[0],
            f"{prefix}_memory_end_mib": memory[1],
            f"{prefix}_memory_most_mib": max(self.memory_mib),
            f"{prefix}_descriptors_middle": descriptors[0],
            f"{prefix}_descriptors_end": descriptors[1],
            f"{prefix}_descriptors_most": max(self.descriptors),
        }

    def growth(self) -> list[str]:
        """A sentence for each thing that did not stay flat."""
        return [
            *not_flat("Memory (MiB)", self.memory_mib, _MEMORY_GROWTH, _MEMORY_SLACK_MIB),
            *not_flat("Descriptors", self.descriptors, _DESCRIPTORS_GROWTH, _DESCRIPTORS_SLACK),
        ]


def thirds(samples: Sequence[float]) -> tuple[float, float]:
    """The medians of the middle and of the last third."""
    length = max(1, len(samples) // 3)
    return median(samples[-2 * length : -length] or samples), median(samples[-length:])


def not_flat(name: str, samples: Sequence[float], growth: float, slack: float) -> list[str]:
    """A sentence on samples whose last third is above what the middle one allows."""
    if len(samples) < 3 * _LEAST_SAMPLES:
        return [f"{name}: {len(samples)} samples are too few to say whether it stays flat."]
    middle, end = thirds(samples)
    if end <= middle * growth + slack:
        return []
    return [f"{name} did not stay flat: {middle:.1f} in the middle third, {end:.1f} in the last."]
