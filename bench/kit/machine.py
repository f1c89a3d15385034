"""The machine that is measured on: what it is, and how its cores are shared out."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

_GIB = 1024**3


@dataclass(frozen=True)
class Cores:
    """Which cores run what is measured, and which the rest: load generator and upstreams."""

    measured: frozenset[int]
    rest: frozenset[int]

    def said(self) -> str:
        if self.measured & self.rest:
            return "One core for everything: router, load generator and nginx compete for it."
        return (
            f"The router is alone on core {_listed(self.measured)}; load generator and nginx are "
            f"on {_listed(self.rest)}."
        )


def share_out(cores: frozenset[int]) -> Cores:
    """The first core for what is measured, the others for the rest."""
    if len(cores) < 2:
        return Cores(cores, cores)
    first = frozenset({min(cores)})
    return Cores(first, cores - first)


def describe_machine() -> dict[str, str | int]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / _GIB),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _listed(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
