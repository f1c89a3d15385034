"""GetMetricData: many metrics at once, one statistic each, page by page.

Metric math is not there: a query with an expression gets an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gnomon.aws.cloudwatch_protocol import InvalidNextToken
from gnomon.control.cloudwatch.reading import Readings
from gnomon.control.cloudwatch.statistics import named
from gnomon.control.cloudwatch.tokens import read_token, token
from gnomon.errors import ValidationFailed

# CloudWatch's own bounds (API reference, GetMetricData).
_MOST_QUERIES = 500
_MOST_POINTS = 100_800
_ID = re.compile(r"[a-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class _Series:
    id: str
    label: str
    points: Sequence[tuple[datetime, float]]


async def get_metric_data(readings: Readings, params: Mapping[str, Any]) -> dict[str, Any]:
    """Newest first unless ScanBy says otherwise; a series that goes on is PartialData."""
    queries = params["MetricDataQueries"]
    _check(queries)
    most = params.get("MaxDatapoints") or _MOST_POINTS
    if not 1 <= most <= _MOST_POINTS:
        raise ValidationFailed(f"MaxDatapoints must be from 1 to {_MOST_POINTS:,}.")
    series = [
        await _series(readings, params, query) for query in queries if query.get("ReturnData", True)
    ]
    given = params.get("NextToken")
    first, offset = read_token(given, tuple[int, int]) if given else (0, 0)
    if not (0 <= first < max(1, len(series)) and offset >= 0):
        raise InvalidNextToken("The NextToken is not one that this operation returned.")
    return _page(series, first, offset, most)


def _check(queries: Sequence[Mapping[str, Any]]) -> None:
    if not 1 <= len(queries) <= _MOST_QUERIES:
        raise ValidationFailed(
            f"The number of MetricDataQueries must be from 1 to {_MOST_QUERIES}."
        )
    for query in queries:
        if not _ID.fullmatch(query["Id"]):
            raise ValidationFailed(
                f"The Id {query['Id']!r} must begin with a lower-case letter, and hold letters, "
                "digits and underscores only."
            )
        if query.get("Expression") is not None:
            raise ValidationFailed(
                f"Gnomon evaluates no metric math: the query {query['Id']!r} must have a "
                "MetricStat instead of an Expression."
            )
        if query.get("MetricStat") is None:
            raise ValidationFailed(f"The query {query['Id']!r} has no MetricStat.")
    if len({query["Id"] for query in queries}) < len(queries):
        raise ValidationFailed("Each of the MetricDataQueries must have an Id of its own.")


async def _series(
    readings: Readings, params: Mapping[str, Any], query: Mapping[str, Any]
) -> _Series:
    wanted = query["MetricStat"]
    compute = named(wanted["Stat"], "Stat")
    window = readings.window(params, wanted["Period"])
    _, periods = await readings.read(wanted["Metric"], wanted.get("Unit"), window, [wanted["Stat"]])
    values = [(at, compute(distribution)) for at, distribution in periods]
    points = [(at, value) for at, value in values if value is not None]
    if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
        points.reverse()
    label = query.get("Label") or wanted["Metric"].get("MetricName") or query["Id"]
    return _Series(query["Id"], label, points)


def _page(series: Sequence[_Series], first: int, offset: int, most: int) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    left = most
    for number, one in enumerate(series[first:], first):
        begins = offset if number == first else 0
        points = one.points[begins : begins + left]
        left -= len(points)
        is_whole = begins + len(points) >= len(one.points)
        results.append(
            {
                "Id": one.id,
                "Label": one.label,
                "Timestamps": [at for at, _ in points],
                "Values": [value for _, value in points],
                "StatusCode": "Complete" if is_whole else "PartialData",
            }
        )
        if not is_whole:
            return {
                "MetricDataResults": results,
                "NextToken": token((number, begins + len(points))),
            }
        if left == 0 and number + 1 < len(series):
            return {"MetricDataResults": results, "NextToken": token((number + 1, 0))}
    return {"MetricDataResults": results}
