"""The dashboard asks for metrics that there are, by labels that they have."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gnomon.model import metric
from gnomon.stats.exposition import VariantTotals, exposition
from gnomon.stats.histogram import Histogram

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "examples" / "grafana_dashboard.json").read_text()
)
# What control alone adds (`gnomon.control.totals`).
GAUGES = {
    "gnomon_instances": {"endpoint", "variant", "status"},
    "gnomon_instance_cpu_cores": {"endpoint", "variant", "instance"},
    "gnomon_instance_memory_ratio": {"endpoint", "variant", "instance"},
    "gnomon_spool_waiting_bytes": set(),
}


def families():
    """Sample name to the names of its labels."""
    counts = {
        getattr(metric, name): 1.0
        for name in vars(metric)
        if name.isupper() and isinstance(getattr(metric, name), str)
    }
    counts[f"{metric.DROPPED_PREFIX}too_large"] = 1.0
    histograms = {
        metric.MODEL_LATENCY_US: Histogram({1: 1}),
        metric.OVERHEAD_LATENCY_US: Histogram({1: 1}),
        metric.CONCURRENT_REQUESTS: Histogram({1: 1}),
    }
    text = exposition([VariantTotals("ep", "v", counts, histograms)]).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    } | GAUGES


def test_every_panel_asks_for_what_there_is():
    known = families()
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert len(asked) >= 10
    for expression in asked:
        names = re.findall(r"gnomon_\w+", expression)
        assert names
        by = re.search(r"by \(([^)]*)\)", expression)
        labels = {"endpoint", *(part.strip() for part in by.group(1).split(","))} if by else set()
        assert by or "{" not in expression
        for name in names:
            assert labels <= known[name], expression


def test_every_counter_that_hints_at_harm_has_a_panel():
    asked = json.dumps(DASHBOARD["panels"])
    for name in ("mirror_dropped", "captures_lost", "pairs_lost", "ejections", "model_errors"):
        assert name in asked


def test_what_pairs_say_and_what_waits_for_the_collector_have_panels():
    asked = json.dumps(DASHBOARD["panels"])
    for name in ("pairs", "disagreements", "invocations_per_instance"):
        assert f"gnomon_{name}_total" in asked
    assert "gnomon_spool_waiting_bytes" in asked


def test_no_two_panels_lie_on_each_other():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
