"""Ways to an upstream that are compared, and how one is measured: maximum, CPU, latency, copies.

What a run with mirroring says is worth nothing if copies were dropped: what arrived is counted at
both upstreams, and a run in which it is not what it should be is void.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.kit.load import Latency, Maximum, Payload, measure_latency, measure_maximum
from bench.kit.machine import Cores
from bench.kit.nginx import Upstream
from bench.kit.report import CannotMeasure
from bench.kit.rounds import valid

# Below this share of copies that arrived, the figures with mirroring are flattered.
_COPIES_SHARE = 0.99
# When no request has come for so long (s), the last ones of a generator that has ended are through.
_SETTLED_S = 0.1
_SETTLE_TIME_LIMIT_S = 10.0


@dataclass
class Way:
    """One way to the upstream, and what was measured on it, by round."""

    name: str
    label: str
    url: str
    payload: Payload
    # CPU time so far of what is between (s); None where nothing is.
    cpu_s: Callable[[], float] | None = None
    is_mirrored: bool = False
    maximum_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    # That CPU time by the time that passed, at the maximum.
    ran_share: list[float] = field(default_factory=list)
    # By rate.
    p50_us: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    p99_us: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    # Copies that arrived, by requests that production answered.
    copies_share: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Rig:
    """Everything that runs while it is measured."""

    production: Upstream
    shadow: Upstream
    cores: Cores
    directory: Path


def take_maximum(rig: Rig, way: Way, duration_s: float) -> None:
    """Add one run with as many requests as go through to the way."""

    def measure() -> tuple[Maximum, float, float]:
        with _counted(rig) as copies_share:
            cpu_before_s = way.cpu_s() if way.cpu_s else 0.0
            found = measure_maximum(way.url, way.payload, duration_s, rig.cores.rest, rig.directory)
        cpu_s = way.cpu_s() - cpu_before_s if way.cpu_s else 0.0
        return found, cpu_s, copies_share()

    found, cpu_s, copies_share = valid(
        measure,
        lambda found: not is_mirrored_right(way, found[2]),
        f"The copies are not what they should be on the way '{way.label}'",
    )
    way.maximum_per_s.append(found.requests_per_s)
    if way.cpu_s:
        way.cpu_us.append(cpu_s / found.requests * 1e6)
        way.ran_share.append(cpu_s / found.duration_s)
    way.copies_share.append(copies_share)


def take_latency(rig: Rig, way: Way, rate_per_s: int, duration_s: float) -> None:
    """Add one run at a rate to the way."""

    def measure() -> tuple[Latency, float]:
        with _counted(rig) as copies_share:
            found = measure_latency(
                way.url, way.payload, rate_per_s, duration_s, rig.cores.rest, rig.directory
            )
        return found, copies_share()

    found, copies_share = valid(
        measure,
        lambda found: found[0].is_void or not is_mirrored_right(way, found[1]),
        f"{rate_per_s} requests a second were not reached on the way '{way.label}'",
    )
    way.p50_us[rate_per_s].append(found.p50_us)
    way.p99_us[rate_per_s].append(found.p99_us)
    way.copies_share.append(copies_share)


def is_mirrored_right(way: Way, copies_share: float) -> bool:
    """Whether all copies came, or none where none is sent."""
    if way.is_mirrored:
        return copies_share >= _COPIES_SHARE
    return copies_share <= 1 - _COPIES_SHARE


@contextlib.contextmanager
def _counted(rig: Rig) -> Iterator[Callable[[], float]]:
    """Counts at both upstreams what arrives in the block.

    Behind the block the given function tells how many copies came for each production request.
    """
    production_before, shadow_before = _settled(rig)
    shares: list[float] = []
    yield lambda: shares[0]
    production, shadow = _settled(rig)
    shares.append((shadow - shadow_before) / max(1, production - production_before))


def _settled(rig: Rig) -> tuple[int, int]:
    """What both upstreams answered, once nothing is under way any more."""
    until_s = time.monotonic() + _SETTLE_TIME_LIMIT_S
    before = (-1, -1)
    while (now := (rig.production.answered(), rig.shadow.answered())) != before:
        if time.monotonic() > until_s:
            raise CannotMeasure("Requests still arrive although nothing sends any.")
        before = now
        time.sleep(_SETTLED_S)
    return now
