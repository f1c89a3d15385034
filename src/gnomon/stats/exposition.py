"""Metrics as text for Prometheus: the same families wherever they come from.

Names follow Prometheus' naming practices: base units (seconds), `_total` behind counters. The
buckets of latencies are cumulated from the exact histograms; a bound falls within a bucket of
those, so that each is true to 1 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gnomon.model import metric
from gnomon.stats.datapoints import Distribution
from gnomon.stats.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LABELS = ("endpoint", "variant")
_US = 1_000_000
# Seconds; from a cached answer to SageMaker's time limit.
_BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
)  # fmt: skip
_COUNTERS = {
    metric.INVOCATIONS: ("gnomon_invocations", "Requests to a variant."),
    metric.INVOCATIONS_PER_INSTANCE: (
        "gnomon_invocations_per_instance",
        "Requests to a variant by its instances: its rate is requests a second per instance.",
    ),
    metric.ERRORS_4XX: ("gnomon_invocation_4xx_errors", "4xx answers of the model."),
    metric.ERRORS_5XX: ("gnomon_invocation_5xx_errors", "5xx answers of the model."),
    metric.MODEL_ERRORS: (
        "gnomon_invocation_model_errors",
        "Requests without a 2xx answer of the model, for whatever reason.",
    ),
    metric.OPTED_OUT: ("gnomon_mirror_opted_out", "Requests that asked not to be mirrored."),
    metric.CANDIDATES: ("gnomon_mirror_candidates", "Requests that could be mirrored."),
    metric.SAMPLED: ("gnomon_mirror_sampled", "Requests that sampling chose for the shadow."),
    metric.MIRRORED: ("gnomon_mirrored", "Copies that were sent to the shadow."),
    metric.EJECTIONS: ("gnomon_ejections", "Instances taken out of use by a router."),
    metric.EJECTED_S: ("gnomon_ejected_seconds", "Time for which instances were out of use."),
    metric.CAPTURES_LOST: ("gnomon_captures_lost", "Captured records that were dropped."),
    metric.CLIENTS_STALLED: (
        "gnomon_clients_stalled",
        "Streamed answers whose client took nothing for too long.",
    ),
    metric.CAPTURES_CUT: ("gnomon_captures_cut", "Captured without the answer, a long stream."),
    metric.PAIRS: ("gnomon_pairs", "Requests with both answers."),
    metric.AGREEMENTS: ("gnomon_agreements", "Pairs whose answers were compared and are the same."),
    metric.DISAGREEMENTS: ("gnomon_disagreements", "Pairs whose answers differ."),
    metric.PAIRS_LOST: ("gnomon_pairs_lost", "Pairs that were dropped."),
    metric.REPEATED: ("gnomon_noise_repeated", "Requests that production answered twice."),
    metric.REPEATS_DROPPED: (
        "gnomon_noise_repeats_dropped",
        "Requests chosen to be answered twice that were not.",
    ),
}
_BY_REASON = {
    metric.DROPPED_PREFIX: ("gnomon_mirror_dropped", "Chosen copies that were not sent."),
    metric.FAILED_PREFIX: ("gnomon_invocation_failed", "Requests that the model did not answer."),
}
# Requests in flight: few, or as many as an instance may have connections.
_CONCURRENCIES = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


@dataclass(frozen=True)
class _Histogram:
    """`per_unit` of what is counted are one of the unit that is shown, in which the bounds are."""

    name: str
    help: str
    bounds: tuple[float, ...] = _BOUNDS
    per_unit: int = _US


_HISTOGRAMS = {
    metric.MODEL_LATENCY_US: _Histogram("gnomon_model_latency_seconds", "How long the model took."),
    metric.FIRST_CHUNK_US: _Histogram(
        "gnomon_first_chunk_latency_seconds",
        "How long a streaming model took for its first chunk.",
    ),
    metric.OVERHEAD_LATENCY_US: _Histogram(
        "gnomon_overhead_latency_seconds",
        "How long the router took beside the model.",
    ),
    metric.CONCURRENT_REQUESTS: _Histogram(
        "gnomon_concurrent_requests",
        "Requests in flight, looked at once a second by each router.",
        _CONCURRENCIES,
        1,
    ),
}


@dataclass(frozen=True)
class VariantTotals:
    """What was counted for one variant; names are those of `gnomon.model.metric`."""

    endpoint: str
    variant: str
    counts: Mapping[str, float]
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True)
class Gauge:
    """A figure of now: its name, what it is, and its values by labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


def exposition(variants: Iterable[VariantTotals], gauges: Iterable[Gauge] = ()) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry()
    registry.register(_Once([*_families(list(variants)), *map(_gauge, gauges)]))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(variants: list[VariantTotals]) -> Iterator[Metric]:
    for name, (family_name, said) in _COUNTERS.items():
        counter = CounterMetricFamily(family_name, said, labels=_LABELS)
        for one in variants:
            if name in one.counts:
                counter.add_metric((one.endpoint, one.variant), one.counts[name])
        yield counter
    for prefix, (family_name, said) in _BY_REASON.items():
        counter = CounterMetricFamily(family_name, said, labels=(*_LABELS, "reason"))
        for one in variants:
            for name, value in one.counts.items():
                if name.startswith(prefix):
                    reason = name.removeprefix(prefix)
                    counter.add_metric((one.endpoint, one.variant, reason), value)
        yield counter
    for name, shown in _HISTOGRAMS.items():
        histogram = HistogramMetricFamily(shown.name, shown.help, labels=_LABELS)
        for one in variants:
            if name in one.histograms:
                total = one.counts.get(name + metric.SUM_SUFFIX)
                period = Distribution.of_histogram(one.histograms[name].counts, total)
                histogram.add_metric(
                    (one.endpoint, one.variant),
                    _buckets(period, shown),
                    period.total / shown.per_unit,
                )
        yield histogram


def _buckets(period: Distribution, shown: _Histogram) -> list[tuple[str, float]]:
    """Prometheus' cumulative buckets: how many were at most so much."""
    values = sorted(period.values.items())
    buckets: list[tuple[str, float]] = []
    seen, at = 0.0, 0
    for bound in shown.bounds:
        while at < len(values) and values[at][0] <= bound * shown.per_unit:
            seen += values[at][1]
            at += 1
        buckets.append((str(bound), seen))
    return [*buckets, ("+Inf", period.count)]


def _gauge(gauge: Gauge) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
    for labels, value in gauge.values.items():
        family.add_metric(labels, value)
    return family
