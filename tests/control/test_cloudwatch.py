"""CloudWatch's read API through real boto3, and in the query form, over a real listener."""

import asyncio
import contextlib
import datetime as dt
import socket
from functools import partial

import boto3
import httpx
import pytest
import uvicorn
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from gnomon.control.cloudwatch import api as cloudwatch
from gnomon.control.cloudwatch.catalogue import part_for
from gnomon.control.cloudwatch.reading import Readings
from gnomon.model import metric
from gnomon.settings import MetricSettings
from gnomon.stats.histogram import Histogram
from gnomon.store.state.instances import instances_of
from gnomon.store.telemetry import ingest
from gnomon.testing.databases import migrated
from gnomon.testing.requests import make_endpoint
from gnomon.web.app import build_app

DIMENSIONS = [
    {"Name": "EndpointName", "Value": "ep"},
    {"Name": "VariantName", "Value": "AllTraffic"},
]
# One moment for all: a minute may pass within a test.
NOW = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
LATENCY_SUM = metric.MODEL_LATENCY_US + metric.SUM_SUFFIX


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


@pytest.fixture
async def telemetry(tmp_path):
    async with migrated("telemetry", tmp_path) as database:
        yield database


@pytest.fixture
async def url(control, telemetry):
    readings = Readings(control.transactions, telemetry, MetricSettings())
    app = build_app(
        control.api,
        cloudwatch.CloudWatch(cloudwatch.load(), readings),
        reports=None,
        analyses=None,
        status=None,
        scrape=None,
    )
    server = _Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture
async def client(url):
    made = boto3.client(
        "cloudwatch",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="gnomon",
        aws_secret_access_key="gnomon",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


@pytest.fixture
async def variant(control):
    """The one variant of the endpoint `ep`, as telemetry knows it."""
    await make_endpoint(control)
    status = await control.until(partial(_instances, control), "an instance")
    return status[0]


async def _instances(control):
    async with control.transactions.database.reading() as connection:
        return await instances_of(connection)


def minutes_ago(count):
    return NOW - dt.timedelta(minutes=count)


async def record(telemetry, variant, ago, counts, latencies_us=(), instance="i"):
    key = {
        "endpoint_id": variant.endpoint_id,
        "minute": int(minutes_ago(ago).timestamp() // 60),
        "variant_id": variant.variant_id,
        "instance_id": instance,
        "experiment_id": "",
    }
    histogram = Histogram()
    for value in latencies_us:
        histogram.record(value)
    if latencies_us:
        counts = {**counts, metric.MODEL_LATENCY_US + metric.NUMBER_SUFFIX: len(latencies_us)}
    async with telemetry.writing() as connection:
        await ingest.add_metric_counts(
            connection, [{**key, "name": name, "value": value} for name, value in counts.items()]
        )
        if latencies_us:
            await ingest.add_metric_histograms(
                connection,
                [{**key, "name": metric.MODEL_LATENCY_US, "counts": histogram.counts}],
            )


def ask(client, name, **changes):
    params = {
        "Namespace": "AWS/SageMaker",
        "MetricName": name,
        "Dimensions": DIMENSIONS,
        "StartTime": minutes_ago(10),
        "EndTime": minutes_ago(0),
        "Period": 60,
        "Statistics": ["Sum"],
    }
    params |= changes
    params = {name: value for name, value in params.items() if value is not None}
    return asyncio.to_thread(client.get_metric_statistics, **params)


async def test_counts_are_summed_by_period_over_instances(client, telemetry, variant):
    await record(telemetry, variant, 7, {metric.INVOCATIONS: 3}, instance="a")
    await record(telemetry, variant, 7, {metric.INVOCATIONS: 4}, instance="b")
    await record(telemetry, variant, 2, {metric.INVOCATIONS: 5})
    answer = await ask(client, "Invocations")
    assert answer["Label"] == "Invocations"
    assert [
        (point["Timestamp"], point["Sum"], point["Unit"]) for point in answer["Datapoints"]
    ] == [
        (minutes_ago(7), 7.0, "None"),
        (minutes_ago(2), 5.0, "None"),
    ]
    answer = await ask(client, "Invocations", Period=300)
    assert [(point["Timestamp"], point["Sum"]) for point in answer["Datapoints"]] == [
        (minutes_ago(10), 7.0),
        (minutes_ago(5), 5.0),
    ]


async def test_an_errors_average_is_its_share_of_the_invocations(client, telemetry, variant):
    counts = {metric.INVOCATIONS: 8, metric.MODEL_ERRORS: 2}
    await record(telemetry, variant, 3, counts)
    statistics = ["Average", "Sum", "SampleCount", "Minimum", "Maximum"]
    answer = await ask(client, "InvocationModelErrors", Statistics=statistics)
    (point,) = answer["Datapoints"]
    assert [point[name] for name in statistics] == [0.25, 2, 8, 0, 1]
    (point,) = (await ask(client, "Invocation5XXErrors"))["Datapoints"]
    assert point["Sum"] == 0


async def test_invocations_per_instance_add_up_to_those_of_one(client, telemetry, variant):
    counts = {metric.INVOCATIONS: 8, metric.INVOCATIONS_PER_INSTANCE: 4}
    await record(telemetry, variant, 3, counts)
    statistics = ["Sum", "SampleCount", "Average"]
    (point,) = (await ask(client, "InvocationsPerInstance", Statistics=statistics))["Datapoints"]
    assert [point[name] for name in statistics] == [4, 8, 0.5]


async def test_latencies_have_exact_sums_and_percentiles_within_a_percent(
    client, telemetry, variant
):
    latencies = [1000 * value for value in range(1, 101)]
    counts = {metric.INVOCATIONS: 100, LATENCY_SUM: sum(latencies)}
    await record(telemetry, variant, 3, counts, latencies)
    statistics = ["Average", "Sum", "SampleCount", "Minimum", "Maximum"]
    (point,) = (await ask(client, "ModelLatency", Statistics=statistics))["Datapoints"]
    assert (point["Sum"], point["Average"], point["SampleCount"]) == (5_050_000, 50_500, 100)
    assert point["Minimum"] == pytest.approx(1000, rel=0.01)
    assert point["Maximum"] == pytest.approx(100_000, rel=0.01)
    assert point["Unit"] == "Microseconds"
    # Without extremes no histogram is read.
    (brief,) = (await ask(client, "ModelLatency", Statistics=statistics[:3]))["Datapoints"]
    assert brief == {name: point[name] for name in ["Timestamp", "Unit", *statistics[:3]]}
    extended = ["p50", "p99", "tm90", "PR(:50000)"]
    answer = await ask(client, "ModelLatency", Statistics=None, ExtendedStatistics=extended)
    values = answer["Datapoints"][0]["ExtendedStatistics"]
    assert values["p50"] == pytest.approx(50_000, rel=0.01)
    assert values["p99"] == pytest.approx(99_000, rel=0.01)
    assert values["tm90"] == pytest.approx(45_500, rel=0.01)
    assert values["PR(:50000)"] == pytest.approx(50, abs=1)


async def test_what_instances_use_is_in_percent_in_a_namespace_of_its_own(
    client, telemetry, variant
):
    key = {
        "endpoint_id": variant.endpoint_id,
        "minute": int(minutes_ago(3).timestamp() // 60),
        "variant_id": variant.variant_id,
        "experiment_id": "",
    }
    name = metric.CPU_UTILIZATION_BP
    async with telemetry.writing() as connection:
        for instance, percent in (("a", 150.0), ("b", 50.0)):
            histogram = Histogram()
            histogram.record(round(percent * metric.BP_PER_PERCENT))
            row = {**key, "instance_id": instance, "name": name, "counts": histogram.counts}
            total = {**row, "name": name + metric.SUM_SUFFIX, "value": percent * 100}
            await ingest.add_metric_histograms(connection, [row])
            number = {**row, "name": name + metric.NUMBER_SUFFIX, "value": 1.0}
            await ingest.add_metric_counts(connection, [total, number])
    statistics = ["Average", "SampleCount", "Maximum"]
    namespace = {"Namespace": "/aws/sagemaker/Endpoints", "Statistics": statistics}
    (point,) = (await ask(client, "CPUUtilization", **namespace))["Datapoints"]
    assert (point["Average"], point["SampleCount"], point["Unit"]) == (100.0, 2, "Percent")
    assert point["Maximum"] == pytest.approx(150, rel=0.01)
    # Without extremes the histograms are not read.
    answer = await ask(client, "CPUUtilization", **(namespace | {"Statistics": ["Average", "Sum"]}))
    assert [(point["Average"], point["Sum"]) for point in answer["Datapoints"]] == [(100.0, 200.0)]
    assert (await ask(client, "CPUUtilization"))["Datapoints"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"MetricName": "Nothing"},
        {"Namespace": "AWS/EC2"},
        {"Dimensions": DIMENSIONS[:1]},
        {"Dimensions": [DIMENSIONS[0], {"Name": "VariantName", "Value": "other"}]},
        {"Unit": "Seconds"},
        {"StartTime": minutes_ago(200), "EndTime": minutes_ago(100)},
    ],
)
async def test_what_is_not_there_has_no_datapoints(client, telemetry, variant, changes):
    await record(telemetry, variant, 3, {metric.INVOCATIONS: 1})
    answer = await ask(
        client, **({"name": "Invocations"} | {"MetricName": "Invocations"} | changes)
    )
    assert answer["Datapoints"] == []


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        ({"Period": 90}, "InvalidParameterValue", "Period"),
        ({"StartTime": minutes_ago(0)}, "InvalidParameterCombination", "StartTime must be less"),
        ({"StartTime": minutes_ago(2000)}, "InvalidParameterCombination", "limit of 1,440"),
        ({"ExtendedStatistics": ["p50"]}, "InvalidParameterCombination", "Exactly one"),
        ({"Statistics": None}, "InvalidParameterCombination", "Exactly one"),
        (
            {"Statistics": None, "ExtendedStatistics": ["p101"]},
            "InvalidParameterValue",
            "p101",
        ),
        ({"Statistics": ["Mode"]}, "ValidationError", "enum value set"),
    ],
)
async def test_a_wrong_request_is_refused_by_cloudwatchs_code(client, changes, code, sentence):
    with pytest.raises(ClientError, match=sentence) as refused:
        await ask(client, "Invocations", **changes)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


async def test_minutes_older_than_they_are_kept_are_not_shown(client, telemetry, variant):
    ago = 20 * 24 * 60
    await record(telemetry, variant, ago, {metric.INVOCATIONS: 1})
    span = {"StartTime": minutes_ago(ago + 60), "EndTime": minutes_ago(ago - 60)}
    assert (await ask(client, "Invocations", **span))["Datapoints"] == []
    (point,) = (await ask(client, "Invocations", Period=300, **span))["Datapoints"]
    assert point["Sum"] == 1


def query(id_, name="Invocations", stat="Sum", **changes):
    metric_ = {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": DIMENSIONS}
    return {"Id": id_, "MetricStat": {"Metric": metric_, "Period": 60, "Stat": stat}} | changes


def data(client, queries, **params):
    times = {"StartTime": minutes_ago(10), "EndTime": minutes_ago(0)}
    return asyncio.to_thread(client.get_metric_data, MetricDataQueries=queries, **(times | params))


async def test_metric_data_come_newest_first_for_each_query(client, telemetry, variant):
    await record(telemetry, variant, 7, {metric.INVOCATIONS: 3})
    await record(telemetry, variant, 2, {metric.INVOCATIONS: 5, metric.ERRORS_4XX: 1})
    queries = [
        query("a"),
        query("b", "Invocation4XXErrors", "Average", Label="share"),
        query("c", ReturnData=False),
    ]
    answer = await data(client, queries)
    first, second = answer["MetricDataResults"]
    assert (first["Id"], first["Label"], first["StatusCode"]) == ("a", "Invocations", "Complete")
    assert first["Timestamps"] == [minutes_ago(2), minutes_ago(7)]
    assert first["Values"] == [5, 3]
    assert (second["Label"], second["Values"]) == ("share", [0.2, 0])
    answer = await data(client, queries[:1], ScanBy="TimestampAscending")
    assert answer["MetricDataResults"][0]["Values"] == [3, 5]


async def test_metric_data_are_paged_without_loss(client, telemetry, variant):
    for ago in range(1, 8):
        await record(telemetry, variant, ago, {metric.INVOCATIONS: ago})
    paginator = client.get_paginator("get_metric_data")
    pages = await asyncio.to_thread(
        lambda: list(
            paginator.paginate(
                MetricDataQueries=[query("a"), query("b", stat="SampleCount")],
                StartTime=minutes_ago(10),
                EndTime=minutes_ago(0),
                MaxDatapoints=3,
            )
        )
    )
    values = {"a": [], "b": []}
    for page in pages:
        assert sum(len(result["Values"]) for result in page["MetricDataResults"]) <= 3
        for result in page["MetricDataResults"]:
            values[result["Id"]] += result["Values"]
    assert values == {"a": [1, 2, 3, 4, 5, 6, 7], "b": [1, 2, 3, 4, 5, 6, 7]}
    assert len(pages) == 5


@pytest.mark.parametrize(
    ("queries", "code", "sentence"),
    [
        ([{"Id": "m", "Expression": "a / b"}], "ValidationError", "no metric math"),
        ([{"Id": "m"}], "ValidationError", "no MetricStat"),
        ([query("A")], "ValidationError", "lower-case"),
        ([query("a"), query("a")], "ValidationError", "Id of its own"),
        ([], "ValidationError", "from 1 to 500"),
        ([query("a", stat="mode")], "InvalidParameterValue", "mode"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(client, queries, code, sentence):
    with pytest.raises(ClientError, match=sentence) as refused:
        await data(client, queries)
    assert refused.value.response["Error"]["Code"] == code


async def test_a_token_of_somebody_elses_is_refused(client):
    for token in ("x", "W10=", "WzksMF0="):
        with pytest.raises(ClientError) as refused:
            await data(client, [query("a")], NextToken=token)
        assert refused.value.response["Error"]["Code"] == "InvalidNextToken"


async def test_metrics_with_data_are_listed_by_name_and_dimension(client, telemetry, variant):
    counts = {metric.INVOCATIONS: 1, LATENCY_SUM: 5}
    await record(telemetry, variant, 5, counts, [5])
    listed = (await asyncio.to_thread(client.list_metrics))["Metrics"]
    assert {entry["MetricName"] for entry in listed} == {
        "Invocations",
        "InvocationsPerInstance",
        "Invocation4XXErrors",
        "Invocation5XXErrors",
        "InvocationModelErrors",
        "ModelLatency",
    }
    assert all(entry["Dimensions"] == DIMENSIONS for entry in listed)

    async def names(**filters):
        found = await asyncio.to_thread(client.list_metrics, **filters)
        return [entry["MetricName"] for entry in found["Metrics"]]

    assert await names(MetricName="ModelLatency") == ["ModelLatency"]
    assert await names(Namespace="AWS/EC2") == []
    assert await names(Dimensions=[{"Name": "VariantName", "Value": "other"}]) == []
    assert await names(Dimensions=[{"Name": "Other"}]) == []
    assert len(await names(Dimensions=DIMENSIONS[:1], RecentlyActive="PT3H")) == 6


async def test_a_metric_without_recent_data_is_not_listed(client, telemetry, variant):
    await record(telemetry, variant, 4 * 60, {metric.INVOCATIONS: 1})
    found = await asyncio.to_thread(client.list_metrics, RecentlyActive="PT3H")
    assert found["Metrics"] == []
    found = await asyncio.to_thread(client.list_metrics)
    assert found["Metrics"]


async def query_form(url, operation, params):
    """A call as an SDK makes it that speaks the query protocol."""
    model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"), "cloudwatch")
    shape = model.operation_model(operation)
    request = create_serializer("query").serialize_to_request(params, shape)
    request = AWSRequest("POST", url, data=request["body"], headers=request["headers"]).prepare()
    async with httpx.AsyncClient() as http:
        answer = await http.post(url, content=request.body, headers=dict(request.headers))
    parser = create_parser("query")
    return parser.parse(
        {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content},
        shape.output_shape,
    )


async def test_the_query_form_says_the_same(url, client, telemetry, variant):
    await record(telemetry, variant, 3, {metric.INVOCATIONS: 3, LATENCY_SUM: 30}, [10] * 3)
    params = {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ModelLatency",
        "Dimensions": DIMENSIONS,
        "StartTime": minutes_ago(10),
        "EndTime": minutes_ago(0),
        "Period": 60,
        "ExtendedStatistics": ["p50"],
    }
    answered = await query_form(url, "GetMetricStatistics", params)
    (point,) = answered["Datapoints"]
    assert (point["Timestamp"], point["Unit"]) == (minutes_ago(3), "Microseconds")
    assert point["ExtendedStatistics"] == {"p50": 10.0}
    answered = await query_form(
        url,
        "GetMetricData",
        {
            "MetricDataQueries": [query("a"), query("b", ReturnData=False)],
            "StartTime": minutes_ago(10),
            "EndTime": minutes_ago(0),
        },
    )
    assert [found["Values"] for found in answered["MetricDataResults"]] == [[3.0]]
    listed = await query_form(url, "ListMetrics", {"MetricName": "Invocations"})
    assert listed["Metrics"][0]["Dimensions"] == DIMENSIONS


async def test_the_query_form_has_errors_of_its_own(url):
    answered = await query_form(url, "PutMetricData", {"Namespace": "x\x01", "MetricData": []})
    assert answered["Error"]["Code"] == "InvalidAction"
    assert "GetMetricStatistics, GetMetricData, ListMetrics" in answered["Error"]["Message"]
    answered = await query_form(url, "ListMetrics", {"Namespace": ":x\x01<"})
    assert answered["Error"]["Code"] == "ValidationError"
    assert ":x\ufffd<" in answered["Error"]["Message"]


@pytest.mark.parametrize(
    "body",
    [
        b"Action=ListMetrics&Dimensions.member.x.Name=a",
        b"Action=ListMetrics&Dimensions=1&Dimensions.member.1=2",
        b"Action=GetMetricData&MetricDataQueries.member.1.MetricStat.Period=%FF",
        b"Action=GetMetricStatistics&Period=many",
        b"\xff",
        b"",
    ],
)
async def test_rubbish_in_the_query_form_is_refused(url, body):
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    async with httpx.AsyncClient() as http:
        answer = await http.post(url, content=body, headers=headers)
    assert answer.status_code == 400
    assert b"<ErrorResponse" in answer.content


async def test_another_protocol_is_refused_by_name(url):
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{url}/service/GraniteServiceVersion20100801/operation/ListMetrics",
            content=b"\xa0",
            headers={"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"},
        )
    assert answer.status_code == 400
    assert "not in Smithy RPC" in answer.json()["message"]


@pytest.mark.parametrize(
    ("statistics", "part"),
    [
        (["Sum", "SampleCount"], "sums"),
        (["Average"], "sums"),
        (["p99", "TS(10%:90%)"], "values"),
        (["Maximum", "SampleCount"], "values"),
        (["Maximum", "Average"], "all"),
        (["p50", "Sum"], "all"),
    ],
)
def test_no_more_is_read_than_statistics_need(statistics, part):
    assert part_for(statistics) == part
