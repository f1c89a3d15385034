"""What Prometheus is told by control: totals of all routers, as the collector added them up, and
what runs now. Its counterpart for one router alone is `gnomon.router.totals`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from gnomon.control.transactions import Transactions
from gnomon.control.utilization import Seen
from gnomon.control.warnings import Waiting
from gnomon.model.lifecycle import LIVE_INSTANCE, UNFINISHED_EXPERIMENT
from gnomon.stats.exposition import Gauge, VariantTotals, exposition
from gnomon.stats.histogram import Histogram
from gnomon.store.database import Database
from gnomon.store.state import routing
from gnomon.store.state.instances import instances_of, variants_named
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS
from gnomon.store.telemetry import queries


class Scrape:
    """Reads both databases; writes nothing. `seen` is what instances used at the last look."""

    def __init__(
        self,
        transactions: Transactions,
        telemetry: Database,
        waiting: Callable[[], Awaitable[Waiting]],
        seen: Callable[[], Sequence[Seen]],
    ) -> None:
        self._transactions = transactions
        self._telemetry = telemetry
        self._waiting = waiting
        self._seen = seen

    async def text(self) -> bytes:
        """One scrape. Variants of deleted endpoints are left out."""
        async with self._transactions.database.reading() as connection:
            endpoints = await ENDPOINTS.all(connection)
            named = await variants_named(connection)
            instances = await instances_of(connection, statuses=LIVE_INSTANCE)
            experiments = await EXPERIMENTS.where(connection, status=UNFINISHED_EXPERIMENT)
            routers = await routing.incarnations(connection)
        async with self._telemetry.reading() as connection:
            found = await queries.totals(connection)
            torn = await queries.torn_count(connection)
        waiting = await self._waiting()
        live = {endpoint.id for endpoint in endpoints}
        names = {
            (variant.endpoint_id, variant.variant_id): (variant.endpoint_name, variant.variant_name)
            for variant in named
            if variant.endpoint_id in live
        }
        gauges = [
            Gauge(
                "gnomon_endpoints",
                "Endpoints by status.",
                ("status",),
                Counter((endpoint.status,) for endpoint in endpoints),
            ),
            Gauge(
                "gnomon_instances",
                "Instances that have not ended.",
                ("endpoint", "variant", "status"),
                Counter(
                    (instance.endpoint_name, instance.variant_name, instance.status)
                    for instance in instances
                ),
            ),
            Gauge(
                "gnomon_experiments",
                "Experiments that have not ended, by status.",
                ("status",),
                Counter((experiment.status,) for experiment in experiments),
            ),
            Gauge(
                "gnomon_routers",
                "Routers that control hears of.",
                (),
                {(): sum(router.dead_since_s is None for router in routers)},
            ),
            Gauge(
                "gnomon_spool_waiting_bytes",
                "What of the spool waits for the collector.",
                (),
                {(): waiting.waiting_bytes},
            ),
            Gauge(
                "gnomon_spool_waiting_seconds",
                "For how long the oldest of it has.",
                (),
                {(): waiting.waited_s},
            ),
            *_usage(self._seen()),
            Gauge(
                "gnomon_spool_torn_segments",
                "Files of the spool that ended in a record that is not whole.",
                (),
                {(): torn},
            ),
        ]
        return exposition(_by_name(found, names), gauges)


def _usage(seen: Sequence[Seen]) -> Iterator[Gauge]:
    """What each instance uses; in Prometheus' base units."""
    figures: dict[str, tuple[str, Callable[[Seen], float | None]]] = {
        "cpu_cores": ("CPUs that an instance uses.", lambda one: _whole(one.used.cpu_percent)),
        "memory_bytes": ("Memory that an instance uses.", lambda one: one.memory_bytes),
        "memory_ratio": (
            "Its share of what the instance may use.",
            lambda one: _whole(one.used.memory_percent),
        ),
        "disk_ratio": (
            "How full the disk is that an instance's directory lies on.",
            lambda one: _whole(one.used.disk_percent),
        ),
        "gpu_ratio": (
            "The share of a GPU that an instance uses; of several, their sum.",
            lambda one: _whole(one.used.gpu_percent),
        ),
        "gpu_memory_ratio": (
            "The share of a GPU's memory that an instance uses; of several, their sum.",
            lambda one: _whole(one.used.gpu_memory_percent),
        ),
    }
    for name, (said, figure) in figures.items():
        values: dict[tuple[str, ...], float] = {
            (one.record.endpoint_name, one.record.variant_name, one.record.id): value
            for one in seen
            if (value := figure(one)) is not None
        }
        yield Gauge(f"gnomon_instance_{name}", said, ("endpoint", "variant", "instance"), values)


def _whole(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _by_name(
    found: list[queries.Totals], names: dict[tuple[str, str], tuple[str, str]]
) -> list[VariantTotals]:
    """One for each name: a variant that was removed and made anew goes on where it was."""
    variants: dict[tuple[str, str], VariantTotals] = {}
    for totals in found:
        name = names.get((totals.endpoint_id, totals.variant_id))
        if name is None:
            continue
        whole = variants.setdefault(name, VariantTotals(*name, {}, {}))
        counts, histograms = dict(whole.counts), dict(whole.histograms)
        for metric_name, value in totals.counts.items():
            counts[metric_name] = counts.get(metric_name, 0.0) + value
        for metric_name, histogram in totals.histograms.items():
            parts = [part.counts for part in (histograms.get(metric_name), histogram) if part]
            histograms[metric_name] = Histogram.merged(parts)
        variants[name] = VariantTotals(*name, counts, histograms)
    return list(variants.values())
