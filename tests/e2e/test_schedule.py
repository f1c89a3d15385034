"""One real test of 20 seconds that begins and ends by itself, under traffic from before its start
until after its end.
"""

import datetime as dt
import math

import pytest

from gnomon.testing.processes import Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DESTINATION = "s3://captures/scheduled"
AHEAD = dt.timedelta(seconds=6)
LASTS = dt.timedelta(seconds=20)
# How late a machine with little to spare may begin or end it.
LATE = dt.timedelta(seconds=15)
PATIENCE_S = 90


def shape(endpoint):
    """An endpoint as its user sees it, without what only says when it last changed."""
    hidden = {"LastModifiedTime", "ResponseMetadata"}
    shown = {name: value for name, value in endpoint.items() if name not in hidden}
    for variant in shown["ProductionVariants"]:
        for image in variant["DeployedImages"]:
            del image["ResolutionTime"]
    return shown


def ids(records):
    return sorted(record["eventMetadata"]["eventId"] for record in records)


def test_a_test_of_twenty_seconds_begins_and_ends_by_itself_and_costs_no_request(echo):
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    before = shape(echo.sagemaker.describe_endpoint(EndpointName=echo.name))
    with Traffic(lambda number: echo.invoke(f"{number}\n")["Body"].read(), threads=2) as traffic:
        start = dt.datetime.now(dt.UTC).replace(microsecond=0) + AHEAD
        schedule = {"StartTime": start, "EndTime": start + LASTS}
        echo.experiment(
            50,
            until=("Created",),
            Schedule=schedule,
            DataStorageConfig={
                "Destination": DESTINATION,
                "ContentType": {"CsvContentTypes": ["text/csv"]},
            },
        )
        assert shape(echo.sagemaker.describe_endpoint(EndpointName=echo.name)) == before
        running = echo.until_experiment("Running", patience_s=PATIENCE_S)
        began = dt.datetime.now(dt.UTC)
        during = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
        ended = echo.until_experiment("Completed", patience_s=PATIENCE_S)
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent >= sent + 50, "traffic after the end")
    assert traffic.failures == []
    assert len(traffic.answers) == traffic.sent

    assert start <= began < start + LATE
    for found in (running, ended):
        assert found["Schedule"] == schedule
        assert found["CreationTime"] < start
    assert start <= running["LastModifiedTime"] < start + LATE
    assert "CompletionTime" not in running
    assert schedule["EndTime"] <= ended["CompletionTime"] < schedule["EndTime"] + LATE
    assert "StatusReason" not in ended
    assert [v["Status"] for v in running["ModelVariants"]] == ["InService", "InService"]
    assert [v["Status"] for v in ended["ModelVariants"]] == ["InService", "Deleted"]
    assert [v["VariantName"] for v in during["ShadowProductionVariants"]] == ["Shadow-01"]
    assert shape(echo.sagemaker.describe_endpoint(EndpointName=echo.name)) == before

    report = echo.gnomon.wait(
        lambda: (found := echo.report())["pairs"]["pairs"] == found["mirror"]["mirrored"] and found,
        "every pair in the report",
    )
    mirror, production = report["mirror"], report["production"]["invocations"]
    sampled = mirror["sampled"]
    # Five standard deviations of binomial(n, 1/2): one false alarm in two million runs.
    assert abs(sampled - mirror["candidates"] / 2) <= 5 * math.sqrt(mirror["candidates"]) / 2
    assert mirror["mirrored"] + sum(mirror["dropped"].values()) == sampled
    assert mirror["mirrored"] == echo.answered(f"{echo.name}-shad") > 0
    assert echo.answered(f"{echo.name}-prod") == traffic.sent > production == mirror["candidates"]

    captured = echo.captured(DESTINATION)
    # A test captures every request of its own, and of the shadow what was mirrored.
    of_production, of_shadow = ids(captured["AllTraffic"]), ids(captured["Shadow-01"])
    assert len(of_production) == len(set(of_production)) == production
    assert len(of_shadow) == len(set(of_shadow)) == mirror["mirrored"]
    assert set(of_shadow) <= set(of_production)
