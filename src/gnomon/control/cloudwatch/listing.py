"""ListMetrics: which metrics there are, of endpoints that exist or did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.control.cloudwatch.catalogue import METRICS
from gnomon.control.cloudwatch.reading import MINUTE_S, Readings
from gnomon.control.cloudwatch.tokens import read_token, token
from gnomon.model.retention import DAY_S
from gnomon.store.state.instances import variants_named
from gnomon.store.telemetry.series import Variant

# CloudWatch's own: a page, and for how long a metric without data is listed.
_PAGE = 500
_LISTED_S = 14 * DAY_S
_RECENTLY_S = 3 * 3600

# Endpoint, variant, namespace, metric: the order of the list.
_Place = tuple[str, str, str, str]


async def list_metrics(readings: Readings, params: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics that had data in the last two weeks, or the last three hours."""
    wanted = {item["Name"]: item.get("Value") for item in params.get("Dimensions") or ()}
    if wanted.keys() - {"EndpointName", "VariantName"}:
        return {"Metrics": []}
    given = params.get("NextToken")
    after = read_token(given, _Place) if given else ("", "", "", "")
    span_s = _RECENTLY_S if params.get("RecentlyActive") else _LISTED_S
    since = int((readings.transactions.clock.now_s() - span_s) // MINUTE_S)
    async with readings.transactions.database.reading() as connection:
        named = await variants_named(
            connection, wanted.get("EndpointName"), wanted.get("VariantName")
        )
    variants: dict[tuple[str, str], list[Variant]] = {}
    for one in named:
        ids = variants.setdefault((one.endpoint_name, one.variant_name), [])
        ids.append(Variant(one.endpoint_id, one.variant_id))
    metrics = sorted(
        (namespace, name)
        for namespace, name in METRICS
        if params.get("Namespace", namespace) == namespace
        and params.get("MetricName", name) == name
    )
    found: list[_Place] = []
    async with readings.telemetry.reading() as connection:
        for (endpoint, variant), ids in variants.items():
            for namespace, name in metrics:
                place = (endpoint, variant, namespace, name)
                if place <= after:
                    continue
                metric = METRICS[namespace, name]
                if any([await metric.exists(connection, one, since) for one in ids]):
                    found.append(place)
                if len(found) > _PAGE:
                    return {
                        "Metrics": [_entry(place) for place in found[:_PAGE]],
                        "NextToken": token(found[_PAGE - 1]),
                    }
    return {"Metrics": [_entry(place) for place in found]}


def _entry(place: _Place) -> dict[str, Any]:
    endpoint, variant, namespace, name = place
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
    }
