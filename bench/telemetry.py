"""What capture costs: the collector's throughput, a frame, production's latency, an outage.

Captured exchanges go through a collector on one core into a directory and into a SeaweedFS. A
router captures each request, or none. Then the store goes away under steady traffic, and comes
back; and it stays away until the spool is full.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.captured.collecting import collect
from bench.captured.frame import frame_cpu_us
from bench.captured.outage import RATE_PER_S, catch_up, long_outage
from bench.captured.report import Measured, report_of
from bench.kit.collector import CAPTURE_ID, running_collector
from bench.kit.endpoints import plain
from bench.kit.load import measure_maximum
from bench.kit.machine import share_out
from bench.kit.nginx import running_upstream
from bench.kit.payloads import ANSWER, LARGE, SMALL
from bench.kit.report import Report
from bench.kit.rounds import in_turn
from bench.kit.router import running_router
from bench.kit.way import Rig, Way, take_latency, take_maximum
from gnomon.model.snapshot import Capture
from gnomon.settings import ObjectsSettings


@dataclass(frozen=True)
class Scope:
    """How much is measured; `share` of the exchanges and frames, times in seconds."""

    rounds: int
    share: float
    latency_rounds: int
    latency_s: float
    outage_s: float
    long_outage_s: float


_FULL = Scope(rounds=3, share=1, latency_rounds=5, latency_s=2, outage_s=14, long_outage_s=30)
_QUICK = Scope(rounds=1, share=0.02, latency_rounds=1, latency_s=1, outage_s=2, long_outage_s=5)


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    with _rig() as rig:
        within = rig.directory
        cases = collect(within / "collecting", rig.cores, scope.share, scope.rounds)
        frames = {
            "frame": (SMALL, round(20_000 * scope.share)),
            "frame_64k": (LARGE, round(300 * scope.share)),
        }
        frame_us: dict[str, list[float]] = {name: [] for name in frames}
        for number in range(scope.rounds):
            for name, (payload, count) in frames.items():
                root = within / f"{name}-{number}"
                frame_us[name].append(frame_cpu_us(root, payload, count))
        ways = _latencies(rig, within / "latency", scope)
        caught_up = catch_up(rig, within / "outage", scope.outage_s)
        memory = long_outage(rig, within / "long", scope.long_outage_s)
        measured = Measured(cases, frame_us, ways[0], ways[1], caught_up, memory)
        return report_of(measured, rig.cores.said())


@contextlib.contextmanager
def _rig() -> Iterator[Rig]:
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gnomon-bench-")))
        for name in ("latency", "outage", "long"):
            (directory / name).mkdir()
        production = stack.enter_context(
            running_upstream(directory / "production", cores.rest, ANSWER)
        )
        # Nothing is mirrored; what counts copies wants to ask somebody.
        shadow = stack.enter_context(running_upstream(directory / "shadow", cores.rest, ANSWER))
        yield Rig(production, shadow, cores, directory)


def _latencies(rig: Rig, directory: Path, scope: Scope) -> list[Way]:
    """One router, two endpoints: without capture and with. A collector takes what is captured."""
    data, port = directory / "data", rig.production.port
    endpoints = [plain("off", port), plain("on", port, [Capture(CAPTURE_ID, "")])]
    with (
        running_router(data, rig.cores.measured, endpoints) as router,
        running_collector(data, rig.cores.rest, ObjectsSettings()),
    ):
        ways = [
            Way("capture_off", "capture off", router.url("off"), SMALL, router.cpu_s),
            Way("capture_on", "capture on", router.url("on"), SMALL, router.cpu_s),
        ]
        for way in ways:
            measure_maximum(way.url, way.payload, 1, rig.cores.rest, rig.directory)
        for number in range(scope.latency_rounds):
            for way in in_turn(ways, number):
                take_maximum(rig, way, scope.latency_s)
            for way in in_turn(ways, number):
                take_latency(rig, way, RATE_PER_S, scope.latency_s)
    return ways
