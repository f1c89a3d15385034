"""A month of metrics, as CloudWatch keeps it, and what asking for all of it takes."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from gnomon.control.cloudwatch.catalogue import INVOCATIONS_NAMESPACE, METRICS, part_for
from gnomon.model import metric
from gnomon.stats.datapoints import statistic
from gnomon.stats.histogram import bucket_of
from gnomon.store.database import Database
from gnomon.store.telemetry import ingest, roll_ups
from gnomon.store.telemetry.series import Periods, Variant
from gnomon.testing.databases import migrated

_VARIANT = Variant("endpoint", "variant")
_INSTANCES = ("first", "second")
_DAYS = 30
_DAY_M = 24 * 60
# The first half of them is kept in periods of five minutes, and answers come an hour each.
_COARSE = 5
_PERIOD_M = 60
# Metric, statistic, and the minute of an hour that periods begin with.
_ASKED = {
    "sum_ms": ("Invocations", "Sum", 0),
    "average_ms": ("ModelLatency", "Average", 0),
    "p99_ms": ("ModelLatency", "p99", 0),
    "p99_from_35_ms": ("ModelLatency", "p99", 35),
}
# Figures as the whole bench names them.
QUESTIONS = {
    "month_sum_ms": "sum of Invocations",
    "month_average_ms": "average of ModelLatency",
    "month_p99_ms": "p99 of ModelLatency",
    "month_p99_from_35_ms": "p99 of ModelLatency, hours from 35 past on",
}


def measure(share: float, rounds: int) -> dict[str, float]:
    """The median milliseconds of CPU time of each question; `share` makes the month shorter."""
    return asyncio.run(_measure(max(2, round(_DAYS * share)), rounds))


async def _measure(days: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="gnomon-bench-") as name:
        async with migrated("telemetry", Path(name)) as database:
            await _fill(database, days)
            times: dict[str, list[float]] = {figure: [] for figure in _ASKED}
            for _ in range(rounds):
                for figure, (metric_name, stat, begins) in _ASKED.items():
                    times[figure].append(await _ask(database, metric_name, stat, begins, days))
    return {figure: sorted(found)[len(found) // 2] for figure, found in times.items()}


async def _fill(database: Database, days: int) -> None:
    generator = random.Random(1)
    coarse = range(0, days // 2 * _DAY_M, _COARSE)
    minutes = [*coarse, *range(days // 2 * _DAY_M, days * _DAY_M)]
    for begins in range(0, len(minutes), 2000):
        counts, histograms = [], []
        for minute in minutes[begins : begins + 2000]:
            for instance in _INSTANCES:
                key = {
                    "endpoint_id": _VARIANT.endpoint_id,
                    "minute": minute,
                    "variant_id": _VARIANT.variant_id,
                    "instance_id": instance,
                    "experiment_id": "",
                }
                values = [round(generator.lognormvariate(9, 0.5)) for _ in range(60)]
                buckets: dict[int, int] = {}
                for value in values:
                    buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
                latency = metric.MODEL_LATENCY_US
                counted = {
                    metric.INVOCATIONS: 60,
                    latency + metric.SUM_SUFFIX: sum(values),
                    latency + metric.NUMBER_SUFFIX: 60,
                }
                counts += [{**key, "name": n, "value": value} for n, value in counted.items()]
                histograms.append({**key, "name": latency, "counts": buckets})
        async with database.writing() as connection:
            await ingest.add_metric_counts(connection, counts)
            await ingest.add_metric_histograms(connection, histograms)
    done = 0
    while done < days * _DAY_M:
        async with database.writing() as connection:
            done = await roll_ups.roll_up(connection, days * _DAY_M)


async def _ask(database: Database, metric_name: str, stat: str, begins: int, days: int) -> float:
    began_s = time.process_time()
    async with database.reading() as connection:
        periods = await METRICS[INVOCATIONS_NAMESPACE, metric_name].read(
            connection,
            [_VARIANT],
            Periods(begins, days * _DAY_M, _PERIOD_M),
            part=part_for([stat]),
        )
    values = [statistic(stat)(period) for period in periods.values()]
    assert len(values) == days * _DAY_M / _PERIOD_M, "an hour has no metrics"
    return (time.process_time() - began_s) * 1000
