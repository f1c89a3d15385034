"""GetMetricStatistics: one metric of one variant, several statistics a period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.aws.cloudwatch_protocol import InvalidParameterCombination, InvalidParameterValue
from gnomon.control.cloudwatch.reading import Readings
from gnomon.stats.datapoints import Statistic, statistic

# CloudWatch's own bound (API reference, GetMetricStatistics).
_MOST_POINTS = 1_440


async def get_metric_statistics(readings: Readings, params: Mapping[str, Any]) -> dict[str, Any]:
    """The datapoints of the periods that have any, oldest first."""
    basic, extended = _statistics(params)
    window = readings.window(params, params["Period"])
    if window.points > _MOST_POINTS:
        raise InvalidParameterCombination(
            f"You have requested up to {window.points:,} datapoints, which exceeds the limit of "
            f"{_MOST_POINTS:,}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range."
        )
    unit, periods = await readings.read(params, params.get("Unit"), window, [*basic, *extended])
    points = []
    for at, distribution in periods:
        point: dict[str, Any] = {"Timestamp": at, "Unit": unit}
        point |= {name: compute(distribution) for name, compute in basic.items()}
        values = {name: compute(distribution) for name, compute in extended.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            point["ExtendedStatistics"] = known
        points.append(point)
    return {"Label": params["MetricName"], "Datapoints": points}


def _statistics(params: Mapping[str, Any]) -> tuple[dict[str, Statistic], dict[str, Statistic]]:
    basic, extended = params.get("Statistics"), params.get("ExtendedStatistics")
    if bool(basic) == bool(extended):
        raise InvalidParameterCombination(
            "Exactly one of the parameters Statistics and ExtendedStatistics must be specified."
        )
    return (
        {name: statistic(name) for name in basic or ()},
        {name: named(name, "ExtendedStatistics") for name in extended or ()},
    )


def named(name: str, parameter: str) -> Statistic:
    """The statistic of that name; InvalidParameterValue if CloudWatch has none such."""
    try:
        return statistic(name)
    except ValueError as error:
        raise InvalidParameterValue(
            f"The value {name!r} for parameter {parameter} is not supported."
        ) from error
