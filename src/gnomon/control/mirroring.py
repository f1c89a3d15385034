"""What became of the requests that could have been mirrored: why a shadow gets no traffic.

Of one test in its report, of every shadow there is now in the status.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gnomon.model import metric
from gnomon.model.records import EndpointRecord
from gnomon.store.database import Database
from gnomon.store.telemetry import queries

# The status looks back this far, and over the minute that has not ended.
LATELY_MINUTES = 5


async def lately(
    telemetry: Database, endpoints: Iterable[EndpointRecord], now_s: float
) -> list[dict[str, Any]]:
    """The figures of each shadow of these endpoints in the last minutes."""
    from_minute = int(now_s // 60) - LATELY_MINUTES
    found = []
    async with telemetry.reading() as connection:
        for endpoint in endpoints:
            shadow = endpoint.serving.shadow if endpoint.serving else None
            if endpoint.serving is None or shadow is None:
                continue
            scope = queries.Scope(endpoint_id=endpoint.id, from_minute=from_minute)
            metrics = await queries.metrics(connection, scope)
            figures = mirror_figures([m for m in metrics if m.variant_id == shadow.id])
            found.append(
                {
                    "endpoint": endpoint.name,
                    "variant": shadow.name,
                    "share": endpoint.serving.shadow_share,
                    "minutes": LATELY_MINUTES,
                    **figures,
                }
            )
    return found


def mirror_figures(metrics: list[queries.InstanceMetrics]) -> dict[str, Any]:
    """How many requests could be mirrored, and what became of each of them. Pure.

    sampled = mirrored + all dropped. `failed` are those of the mirrored that got no answer. Those
    that are not sampled include copies in flight: a copy counts as sampled once it has ended.
    """
    candidates, sampled, opted_out = (
        round(total(metrics, name))
        for name in (metric.CANDIDATES, metric.SAMPLED, metric.OPTED_OUT)
    )
    return {
        "candidates": candidates,
        "opted_out": opted_out,
        "not_sampled": max(0, candidates - opted_out - sampled),
        "sampled": sampled,
        "mirrored": round(total(metrics, metric.MIRRORED)),
        "dropped": _by_reason(metrics, metric.DROPPED_PREFIX),
        "failed": _by_reason(metrics, metric.FAILED_PREFIX),
    }


def total(metrics: Iterable[queries.InstanceMetrics], name: str) -> float:
    return sum(item.counts.get(name, 0) for item in metrics)


def _by_reason(metrics: list[queries.InstanceMetrics], prefix: str) -> dict[str, int]:
    names = {name for item in metrics for name in item.counts if name.startswith(prefix)}
    return {name.removeprefix(prefix): round(total(metrics, name)) for name in sorted(names)}
