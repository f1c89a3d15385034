"""What was measured of an experiment, or of an endpoint: figures from telemetry under the names
that state knows. Judging them is left to `gnomon.control.judging`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gnomon.control.absences import Absence, absences
from gnomon.control.judging import Judge, analysis_json, distributions_json, pairs_json
from gnomon.control.mirroring import mirror_figures, total
from gnomon.control.operations.endpoints import find_endpoint
from gnomon.control.operations.experiments import describe_inference_experiment, find_experiment
from gnomon.control.spans import running_span
from gnomon.control.transactions import Transactions
from gnomon.model import metric
from gnomon.model.records import ExperimentRecord
from gnomon.stats.histogram import Histogram
from gnomon.store.database import Database
from gnomon.store.state.instances import events_of, instance_events, instances_of
from gnomon.store.telemetry import queries

_ENDED = ("Completed", "Cancelled")
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Reports:
    """Reads both databases; writes nothing."""

    def __init__(self, transactions: Transactions, telemetry: Database, judge: Judge) -> None:
        self._transactions = transactions
        self._telemetry = telemetry
        self._judge = judge

    async def experiment(self, name: str) -> dict[str, Any]:
        """Both variants side by side, the mirror's counts, and what the pairs say;
        ResourceNotFound.
        """
        async with self._transactions.looking() as call:
            record = await find_experiment(call, name)
            description = await describe_inference_experiment(call, {"Name": name})
            events = await events_of(call.connection, record.id)
            absent: list[Absence] = []
            span = running_span(events, call.now_s, call.steady_s)
            if span is not None:
                # Wider than the test: what is missed at its end may be back after it.
                around = await instance_events(
                    call.connection, record.endpoint_name, span.begins_steady_s
                )
                absent = absences(around, span.begins_steady_s, span.ends_steady_s)
        async with self._telemetry.reading() as connection:
            found = await queries.metrics(connection, queries.Scope(experiment_id=record.id))
            gaps = await queries.cut_off(connection, span.begins_s, span.ends_s) if span else []
            torn = await queries.torn(connection, span.begins_s, span.ends_s) if span else []
        plan = record.plan
        production_id = plan.former.production[0].id if plan.former else ""
        seconds = span.seconds if span else 0.0
        of_shadow = [m for m in found if m.variant_id == plan.shadow.variant_id]
        judged = await self._judge.judge(
            record.id, of_shadow, span, is_over=record.status in _ENDED
        )
        return {
            "experiment": {
                "name": record.name,
                "arn": record.arn,
                "status": record.status,
                "status_reason": record.status_reason,
                "endpoint": record.endpoint_name,
                "starts_at": description["Schedule"]["StartTime"],
                "ends_at": description["Schedule"]["EndTime"],
                "completed_at": description["CompletionTime"],
                "sampling_percentage": plan.sampling_percentage,
            },
            "seconds": seconds,
            "production": variant_figures(
                plan.production.variant_name,
                [m for m in found if m.variant_id == production_id],
                seconds,
            ),
            "shadow": variant_figures(
                plan.shadow.variant_name,
                of_shadow,
                seconds,
            ),
            "mirror": mirror_figures(of_shadow),
            "pairs": pairs_json(judged.state),
            "analysis": analysis_json(judged),
            "distributions": distributions_json(judged.state),
            "progress": judged.progress,
            "captures": {"destination": _destination(record)},
            "lost": {
                "captures": round(total(found, metric.CAPTURES_LOST)),
                "pairs": round(total(found, metric.PAIRS_LOST)),
            },
            "noise": {
                # Requests that production was to answer twice.
                "repeated": round(total(found, metric.REPEATED)),
                "dropped": round(total(found, metric.REPEATS_DROPPED)),
            },
            "cut": {
                # Captured without their answers, which were longer than is kept of a stream.
                "captures": round(total(found, metric.CAPTURES_CUT)),
            },
            "gaps": [{"router": gap.incarnation_id, "at_s": gap.at_s} for gap in gaps],
            "torn": [
                {"router": tail.incarnation_id, "at_s": tail.at_s, "bytes": tail.torn_bytes}
                for tail in torn
            ],
            "away": [asdict(absence) for absence in absent],
            "ejected": ejected_figures(found),
        }

    async def endpoint(self, name: str) -> dict[str, Any]:
        """All that was counted on an endpoint, by variant, with those that have gone."""
        async with self._transactions.looking() as call:
            record = await find_endpoint(call, name)
            instances = await instances_of(call.connection, record.id)
        names = {instance.variant_id: instance.variant_name for instance in instances}
        async with self._telemetry.reading() as connection:
            found = await queries.metrics(connection, queries.Scope(endpoint_id=record.id))
        by_name: dict[str, list[queries.InstanceMetrics]] = {}
        for metrics in found:
            by_name.setdefault(names.get(metrics.variant_id, metrics.variant_id), []).append(
                metrics
            )
        return {
            "endpoint": record.name,
            "status": record.status,
            "variants": {
                variant: variant_figures(variant, metrics, 0.0)
                for variant, metrics in by_name.items()
            },
        }


def ejected_figures(metrics: list[queries.InstanceMetrics]) -> dict[str, dict[str, int]]:
    """By instance, how often routers ejected it, and for how long, summed over them. Pure."""
    return {
        item.instance_id: {
            "ejections": round(item.counts[metric.EJECTIONS]),
            "ejected_s": round(item.counts.get(metric.EJECTED_S, 0)),
        }
        for item in metrics
        if item.counts.get(metric.EJECTIONS)
    }


def variant_figures(
    name: str, metrics: list[queries.InstanceMetrics], seconds: float
) -> dict[str, Any]:
    """One variant's counts and latencies (ms), summed over its instances. Pure."""
    per_instance = total(metrics, metric.INVOCATIONS_PER_INSTANCE)
    return {
        "variant": name,
        "invocations": round(total(metrics, metric.INVOCATIONS)),
        "errors_4xx": round(total(metrics, metric.ERRORS_4XX)),
        "errors_5xx": round(total(metrics, metric.ERRORS_5XX)),
        "model_errors": round(total(metrics, metric.MODEL_ERRORS)),
        "requests_per_s_per_instance": per_instance / seconds if seconds else None,
        "latency_ms": _percentiles_ms(metrics, metric.MODEL_LATENCY_US),
        # Of streamed answers alone.
        "first_chunk_ms": _percentiles_ms(metrics, metric.FIRST_CHUNK_US),
        "by_instance": {
            item.instance_id: round(item.counts.get(metric.INVOCATIONS, 0))
            for item in metrics
            if item.instance_id and item.counts.get(metric.INVOCATIONS, 0)
        },
    }


def _percentiles_ms(metrics: list[queries.InstanceMetrics], name: str) -> dict[str, float | None]:
    histogram = Histogram()
    for item in metrics:
        if name in item.histograms:
            histogram.merge(item.histograms[name].counts)
    quantiles = {label: histogram.quantile(q) for label, q in _PERCENTILES.items()}
    return {label: None if us is None else us / 1000 for label, us in quantiles.items()}


def _destination(record: ExperimentRecord) -> str | None:
    storage: Any = record.plan.data_storage
    return str(storage["Destination"]) if storage else None
