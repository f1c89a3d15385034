"""What the router costs: a trivial upstream behind it, and beside it a direct run.

POST of 200 bytes of JSON, an answer of about 100, 32 kept-alive connections. Three ways to the
same nginx: direct, through the router, and through the router with every request mirrored to a
second nginx. Two endpoints of one router process, so that one process is what both are about.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.kit.endpoints import mirrored, plain
from bench.kit.load import measure_maximum
from bench.kit.machine import Cores, share_out
from bench.kit.nginx import running_upstream
from bench.kit.payloads import ANSWER, SMALL
from bench.kit.report import Report
from bench.kit.rounds import in_turn, median_ratio
from bench.kit.router import BenchedRouter, running_router
from bench.kit.spread import spread
from bench.kit.versions import versions_of
from bench.kit.way import Rig, Way, take_latency, take_maximum

_RATE_PER_S = 1_000
# At its maximum a router that has its core to itself runs nearly all the time.
_RAN_SHARE = 0.9


@dataclass(frozen=True)
class Scope:
    """How much is measured: the times are per way and round, in seconds."""

    rounds: int
    maximum_s: float
    latency_s: float


_FULL = Scope(rounds=5, maximum_s=3, latency_s=3)
_QUICK = Scope(rounds=1, maximum_s=1, latency_s=1)


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    with _rig() as (rig, router):
        alone, both = router.url("plain"), router.url("mirrored")
        ways = [
            Way("direct", "direct, no router", rig.production.url, SMALL),
            Way("router", "router", alone, SMALL, router.cpu_s),
            Way("mirroring", "router, all mirrored", both, SMALL, router.cpu_s, True),
        ]
        for way in ways:
            measure_maximum(way.url, way.payload, 1, rig.cores.rest, rig.directory)
        for number in range(scope.rounds):
            for way in in_turn(ways, number):
                take_maximum(rig, way, scope.maximum_s)
            for way in in_turn(ways, number):
                take_latency(rig, way, _RATE_PER_S, scope.latency_s)
            router.empty_spool()
        return _report(ways, rig.cores, scope)


@contextlib.contextmanager
def _rig() -> Iterator[tuple[Rig, BenchedRouter]]:
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gnomon-bench-")))
        production = stack.enter_context(
            running_upstream(directory / "production", cores.rest, ANSWER)
        )
        shadow = stack.enter_context(running_upstream(directory / "shadow", cores.rest, ANSWER))
        router = stack.enter_context(
            running_router(
                directory / "data",
                cores.measured,
                [
                    plain("plain", production.port),
                    mirrored("mirrored", production.port, shadow.port),
                ],
            )
        )
        yield Rig(production, shadow, cores, directory), router


# --- Reporting ------------------------------------------------------------------------------------


def _report(ways: list[Way], cores: Cores, scope: Scope) -> Report:
    direct, router, mirroring = ways
    figures: dict[str, float] = {}
    for way in ways:
        figures[f"{way.name}_max_per_s"] = median(way.maximum_per_s)
        figures[f"{way.name}_p50_at_{_RATE_PER_S}_per_s_us"] = median(way.p50_us[_RATE_PER_S])
        figures[f"{way.name}_p99_at_{_RATE_PER_S}_per_s_us"] = median(way.p99_us[_RATE_PER_S])
        if way.cpu_s:
            figures[f"{way.name}_cpu_us"] = median(way.cpu_us)
    for way in (router, mirroring):
        ratio = median_ratio(way.maximum_per_s, direct.maximum_per_s)
        figures[f"{way.name}_max_to_direct_ratio"] = ratio
    figures["mirroring_max_to_router_ratio"] = median_ratio(
        mirroring.maximum_per_s, router.maximum_per_s
    )
    figures["mirroring_cpu_to_router_ratio"] = median_ratio(mirroring.cpu_us, router.cpu_us)
    figures["mirroring_copies_ratio"] = min(mirroring.copies_share)
    notes = [
        f"Medians of {scope.rounds} alternating rounds (least to most); ratios within a round.",
        cores.said(),
        f"All answers were 2xx; copies that arrived: {figures['mirroring_copies_ratio']:.2%}.",
    ]
    ran = median(router.ran_share)
    if ran < _RAN_SHARE:
        notes.append(
            f"The router had only {ran:.0%} of a core at its maximum: other work held it back. "
            "Its CPU time a request still says something, its requests a second do not."
        )
    return Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(("gnomon", "uvloop", "httptools"), ("nginx", "wrk", "h2load")),
        header=("way", "max req/s", "x direct", "CPU µs a request", "p50 µs", "p99 µs"),
        rows=[_row(way, direct) for way in ways],
        notes=notes,
    )


def _row(way: Way, direct: Way) -> tuple[str, ...]:
    return (
        way.label,
        spread(way.maximum_per_s),
        f"{median_ratio(way.maximum_per_s, direct.maximum_per_s):.2f}",
        spread(way.cpu_us, 1) if way.cpu_us else "",
        spread(way.p50_us[_RATE_PER_S]),
        spread(way.p99_us[_RATE_PER_S]),
    )
