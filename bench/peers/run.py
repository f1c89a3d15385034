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
from bench.kit.way import Way, take_latency, take_maximum
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


_FULL = Scope(rounds=3, maximum_s=2, latency_s=2, cpu_rounds=10, memory_s=60)
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
    """What could not be measured, as a sentence each: by peers with a failing shadow, which are
    left out then, and whole rounds in which the machine was too busy for the others.
    """
    said: dict[str, str] = {}
    for rate_per_s in RATES_PER_S:
        for number in range(scope.rounds):
            ways = [stand.ways[name] for name in LATENCIES if name not in said]
            for done, way in enumerate(in_turn(ways, number)):
                try:
                    take_latency(stand.rig, way, rate_per_s, scope.latency_s)
                except CannotMeasure as error:
                    reason = str(error).splitlines()[0]
                    sentence = f"{way.label} at {rate_per_s:,}/s, no figure: {reason}"
                    if may_stall(way.name):
                        said[way.name] = sentence
                        continue
                    for other in in_turn(ways, number)[:done]:
                        forget_round(other, rate_per_s)
                    said[f"round {number + 1} at {rate_per_s}"] = sentence
                    break
        if not stand.ways["gnomon_hung"].p50_us[rate_per_s]:
            raise CannotMeasure(" ".join(said.values()))
    return list(said.values())


def may_stall(name: str) -> bool:
    """Whether this is a peer with a failing shadow; of all else there has to be a figure."""
    return name.startswith(("nginx_", "envoy_"))


def forget_round(way: Way, rate_per_s: int) -> None:
    """Take the last latency of this rate from the way, as if it had not been measured."""
    if way.p50_us[rate_per_s]:
        way.p50_us[rate_per_s].pop()
        way.p99_us[rate_per_s].pop()


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
