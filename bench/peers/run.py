"""The router beside nginx and Envoy at the same job: every request goes to a shadow as well.

`scripts/bench router --peers`. All have one worker on the same core, the same upstreams and the
same load; what is compared is measured in the same round. Gnomon also records its metrics and both
answers of each pair, which the others do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.kit.load import measure_latency, measure_maximum
from bench.kit.payloads import SMALL
from bench.kit.report import CannotMeasure, Report
from bench.kit.rounds import in_turn
from bench.kit.way import take_latency, take_maximum
from bench.peers.figures import LATENCIES, MAXIMA, RATES_PER_S, UNSAMPLED, figures_of
from bench.peers.memory import memory_figures, watched
from bench.peers.report import report_of
from bench.peers.stand import HEALTHY, HUNG, Stand, standing
from gnomon.model import metric

# Above this share of records that the spool had no room for, its cost is flattered.
_LOST_SHARE = 0.01


@dataclass(frozen=True)
class Scope:
    """How much is measured: the times are per way and round, in seconds."""

    rounds: int
    maximum_s: float
    latency_s: float
    cpu_rounds: int
    memory_s: float


_FULL = Scope(rounds=5, maximum_s=2, latency_s=3, cpu_rounds=10, memory_s=60)
_QUICK = Scope(rounds=1, maximum_s=1, latency_s=1, cpu_rounds=2, memory_s=4)


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    with standing() as stand:
        _take_maxima(stand, MAXIMA, scope.rounds, scope.maximum_s)
        _take_maxima(stand, UNSAMPLED, scope.cpu_rounds, scope.maximum_s)
        lost_share = _lost_share(stand)
        stalled = _take_latencies(stand, scope)
        memory = _watch_memory(stand, scope.memory_s)
        said = stand.rig.cores.said()
    figures = figures_of(stand.ways) | memory_figures(memory) | {"records_lost_ratio": lost_share}
    counts = (scope.rounds, scope.cpu_rounds)
    return report_of(stand.ways, figures, [said, *stalled], counts)


def _take_maxima(stand: Stand, names: Sequence[str], rounds: int, duration_s: float) -> None:
    ways = [stand.ways[name] for name in names]
    for way in ways:
        measure_maximum(way.url, way.payload, 1, stand.rig.cores.rest, stand.rig.directory)
    for number in range(rounds):
        for way in in_turn(ways, number):
            take_maximum(stand.rig, way, duration_s)


def _lost_share(stand: Stand) -> float:
    names = (metric.MIRRORED, metric.PAIRS_LOST, metric.CAPTURES_LOST)
    counted = stand.routers[HEALTHY].counted(names)
    lost = counted[metric.PAIRS_LOST] + counted[metric.CAPTURES_LOST]
    share = lost / max(1.0, counted[metric.MIRRORED])
    if share > _LOST_SHARE:
        raise CannotMeasure(
            f"{share:.1%} of pairs and captures were not kept: Gnomon's figures would flatter it."
        )
    return share


def _take_latencies(stand: Stand, scope: Scope) -> list[str]:
    """What a peer could not do with a failing shadow, as a sentence each; Gnomon must do all."""
    stalled: dict[str, str] = {}
    for rate_per_s in RATES_PER_S:
        for number in range(scope.rounds):
            for way in in_turn([stand.ways[name] for name in LATENCIES], number):
                if way.name in stalled:
                    continue
                try:
                    take_latency(stand.rig, way, rate_per_s, scope.latency_s)
                except CannotMeasure as error:
                    if way.name.startswith("gnomon") or "_" not in way.name:
                        raise
                    reason = str(error).splitlines()[0]
                    stalled[way.name] = f"{way.label}: no figure at {rate_per_s}/s: {reason}"
    return list(stalled.values())


def _watch_memory(stand: Stand, duration_s: float) -> list[int]:
    router, rig = stand.routers[HUNG], stand.rig
    cores = rig.cores.rest
    return watched(
        lambda: measure_latency(
            router.url("mirrored"),
            SMALL,
            RATES_PER_S[-1],
            duration_s,
            cores,
            rig.directory,
        ),
        router.memory_bytes,
    )
