"""Which ways are compared in which phase of a run, and the figures that the rounds give. Pure."""

from __future__ import annotations

from statistics import median

from bench.kit.rounds import median_ratio, ratio_interval
from bench.kit.way import Way
from bench.peers.goals import of_allowed
from bench.peers.stand import DEAD, HEALTHY, HUNG, SYSTEMS

RATES_PER_S = (1_000, 3_000)
_LOW, _HIGH = RATES_PER_S
MAXIMA = (
    *("direct", "nginx", "envoy", "gnomon", "gnomon_capture", "gnomon_sdk", "envoy_sdk"),
    *("direct_64k", "nginx_64k", "envoy_64k", "gnomon_64k"),
)
STATES = (HEALTHY, DEAD, HUNG)
LATENCIES = (
    "direct",
    *(name if state == HEALTHY else f"{name}_{state}" for state in STATES for name in SYSTEMS),
)
UNSAMPLED = ("none", "unsampled")


def figures_of(ways: dict[str, Way]) -> dict[str, float]:
    """Every figure that the rounds say something about; ratios are taken within a round."""
    figures: dict[str, float] = {}
    for way in ways.values():
        if way.maximum_per_s:
            figures[f"{way.name}_max_per_s"] = median(way.maximum_per_s)
        if way.cpu_us:
            figures[f"{way.name}_cpu_us"] = median(way.cpu_us)
        for rate_per_s in way.p50_us:
            figures[f"{way.name}_p50_at_{rate_per_s}_per_s_us"] = median(way.p50_us[rate_per_s])
            figures[f"{way.name}_p99_at_{rate_per_s}_per_s_us"] = median(way.p99_us[rate_per_s])
    for above, below in (
        *(("gnomon", "envoy"), ("gnomon", "nginx"), ("gnomon_capture", "envoy")),
        *(("gnomon_sdk", "envoy_sdk"), ("gnomon_64k", "envoy_64k"), ("gnomon_64k", "nginx_64k")),
    ):
        a, b = ways[above], ways[below]
        figures[f"{above}_to_{below}_ratio"] = median_ratio(a.maximum_per_s, b.maximum_per_s)
        figures[f"{above}_cpu_to_{below}_ratio"] = median_ratio(a.cpu_us, b.cpu_us)
    none, unsampled = (ways[name].cpu_us for name in UNSAMPLED)
    low, high = ratio_interval(unsampled, none)
    figures["unsampled_cpu_ratio"] = median_ratio(unsampled, none)
    figures["unsampled_cpu_ratio_low"], figures["unsampled_cpu_ratio_high"] = low, high
    gnomon, envoy, direct = (ways[name].p50_us[_LOW] for name in ("gnomon", "envoy", "direct"))
    figures["p50_added_to_envoy_ratio"] = median(
        (ours - bare) / (theirs - bare)
        for ours, theirs, bare in zip(gnomon, envoy, direct, strict=True)
    )
    for state in (DEAD, HUNG):
        pairs = zip(
            ways["gnomon"].p99_us[_HIGH], ways[f"gnomon_{state}"].p99_us[_HIGH], strict=True
        )
        figures[f"p99_{state}_of_allowed_ratio"] = median(of_allowed(*pair) for pair in pairs)
    return figures
