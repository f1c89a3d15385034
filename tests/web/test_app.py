"""The application over ASGI: what control serves, with real databases and no sockets."""

import json

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from gnomon.aws.json_protocol import MAX_BODY_BYTES
from gnomon.control.analyses import Analyses
from gnomon.control.cloudwatch import api as cloudwatch
from gnomon.control.cloudwatch.api import CloudWatch
from gnomon.control.cloudwatch.reading import Readings
from gnomon.control.reports import Reports
from gnomon.control.status import Machine, Status
from gnomon.control.totals import Scrape
from gnomon.control.utilization import Seen, Utilization
from gnomon.control.warnings import Warnings
from gnomon.model import metric
from gnomon.model.lifecycle import ENDPOINT
from gnomon.settings import MetricSettings
from gnomon.stats.histogram import bucket_of
from gnomon.store.state.instances import instances_of
from gnomon.store.state.resources import ENDPOINTS
from gnomon.store.telemetry import ingest
from gnomon.testing.analyses import a_judge
from gnomon.testing.builders import a_variant, an_instance
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.databases import migrated
from gnomon.testing.fake_host import FakeMachine
from gnomon.testing.requests import experiment_request, make_config, make_endpoint, make_model
from gnomon.web.app import build_app


def warnings(control, telemetry, path):
    databases = (control.transactions.database, telemetry)
    report_of = control.feed.report_of
    return Warnings(control.api.floor, databases, report_of, path / "spool", control.clock, str)


SEEN = Seen(an_instance(a_variant(), endpoint_name="ep"), 2**30, Utilization(150.0, 25.0, 50.0))


@pytest.fixture
async def client(tmp_path):
    async with (
        migrated("telemetry", tmp_path) as telemetry,
        FakeMachine(listens=True).closing() as machine,
        running_control(tmp_path, machine, FakeClock()) as control,
    ):
        judge = a_judge(control.transactions.database, telemetry)
        app = build_app(
            control.api,
            CloudWatch(
                cloudwatch.load(), Readings(control.transactions, telemetry, MetricSettings())
            ),
            Reports(control.transactions, telemetry, judge),
            Analyses(control.transactions, judge, control.loop.wake, ["by_rank"]),
            Status(
                control.transactions,
                warnings(control, telemetry, tmp_path),
                Machine(cores=2, memory_bytes=2**33),
                runs_here,
                telemetry,
            ),
            Scrape(
                control.transactions,
                telemetry,
                warnings(control, telemetry, tmp_path).waiting,
                lambda: [SEEN],
            ),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gnomon") as client:
            client.control = control
            client.telemetry = telemetry
            yield client


def runs_here(image):
    return image != "elsewhere:1"


def target(operation):
    return {"X-Amz-Target": f"SageMaker.{operation}"}


async def test_an_operation_is_answered_in_the_aws_manner(client):
    answer = await client.post("/", headers=target("ListModels"), content=b"{}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-requestid"]
    assert answer.json() == {"Models": []}


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "code"),
    [
        ("POST", "/", target("ListModels"), b"{", "SerializationException"),
        ("POST", "/", target("NoSuchThing"), b"{}", "UnknownOperationException"),
        ("POST", "/", target("CreateTrainingJob"), b"{}", "UnknownOperationException"),
        ("POST", "/", {}, b"{}", "UnknownOperationException"),
        ("GET", "/somewhere", {}, b"", "UnknownOperationException"),
        (
            "POST",
            "/",
            target("ListModels") | {"Content-Type": "text/plain"},
            b"{}",
            "UnknownOperationException",
        ),
        ("POST", "/", target("CreateModel"), b"[" * 5000, "SerializationException"),
        ("POST", "/", target("CreateModel"), b"\xff", "SerializationException"),
        ("POST", "/", target("CreateModel"), b"{}", "ValidationException"),
    ],
)
async def test_rubbish_gets_a_clear_error_and_never_a_500(
    client, method, path, headers, content, code
):
    answer = await client.request(method, path, headers=headers, content=content)
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"] == code
    assert answer.json()["__type"] == code


async def test_an_operation_that_gnomon_does_not_have_is_named_with_those_it_has(client):
    answer = await client.post("/", headers=target("CreateTrainingJob"), content=b"{}")
    assert "CreateTrainingJob" in answer.text
    assert "CreateInferenceExperiment" in answer.text


async def test_a_body_without_end_is_cut_off(client):
    answer = await client.post(
        "/", headers=target("ListModels"), content=b" " * (MAX_BODY_BYTES + 1)
    )
    assert answer.status_code == 413
    assert answer.json()["__type"] == "RequestEntityTooLargeException"


async def test_the_status_has_what_is_there(client):
    await make_model(client.control, "m")
    status = (await client.get("/gnomon/v1/status")).json()
    assert status.pop("light").startswith("nice 10")
    assert status.pop("machine") == {
        "cores": 2,
        "memory_bytes": 2**33,
        "wanted_vcpus": 0,
        "wanted_memory_bytes": 0,
        "wanted_gpus": 0,
    }
    assert status.pop("spool") == {"waiting_bytes": 0, "waited_s": 0.0}
    nothing = ("warnings", "endpoints", "instances", "experiments", "shadows", "routers")
    assert status == {name: [] for name in nothing}


async def test_the_status_says_why_a_shadow_gets_no_traffic(client):
    await make_endpoint(client.control)
    await make_model(client.control, "shad")
    await client.control.call("CreateInferenceExperiment", **experiment_request())
    await client.control.until_experiment("exp", "Running")
    (shadow,) = (await client.get("/gnomon/v1/status")).json()["shadows"]
    assert (shadow["endpoint"], shadow["variant"], shadow["share"]) == ("ep", "Shadow-01", 0.5)
    assert shadow["candidates"] == shadow["sampled"] == 0
    async with client.control.transactions.database.reading() as connection:
        endpoint = await ENDPOINTS.find(connection, "ep")
    row = {
        "endpoint_id": endpoint.id,
        "minute": int(client.control.clock.now_s() // 60),
        "variant_id": endpoint.serving.shadow.id,
        "instance_id": "",
        "experiment_id": "",
    }
    counts = {
        "candidates": 20,
        "opted_out": 3,
        "sampled": 10,
        "mirrored": 6,
        "dropped.over_budget": 4,
        "failed.deadline": 2,
    }
    async with client.telemetry.writing() as connection:
        await ingest.add_metric_counts(
            connection, [{**row, "name": name, "value": value} for name, value in counts.items()]
        )
    (shadow,) = (await client.get("/gnomon/v1/status")).json()["shadows"]
    assert shadow["not_sampled"] == 7
    assert shadow["opted_out"] == 3
    assert shadow["dropped"] == {"over_budget": 4}
    assert shadow["failed"] == {"deadline": 2}


async def test_what_instance_types_promise_is_added_up_for_instances_of_this_machine(client):
    await make_endpoint(client.control, count=2)
    await client.control.call(
        "CreateModel", ModelName="far", PrimaryContainer={"Image": "elsewhere:1"}
    )
    await make_config(client.control, "far-config", "far", count=5)
    await client.control.call("CreateEndpoint", EndpointName="far", EndpointConfigName="far-config")
    status = (await client.get("/gnomon/v1/status")).json()
    # Two ml.m5.xlarge.
    assert status["machine"]["wanted_vcpus"] == 8
    assert status["machine"]["wanted_memory_bytes"] == 2 * 16 * 2**30
    await client.control.until_endpoint("far", "Failed")


async def test_a_report_on_what_is_not_there_is_a_404_with_a_sentence(client):
    for path in ("/gnomon/v1/experiments/none/report", "/gnomon/v1/endpoints/none/metrics"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("Could not find")


async def test_transitions_are_events_newest_first(client):
    await make_model(client.control, "m", "s3://bucket/gone.tar.gz")
    await make_config(client.control, "c", "m")
    await client.control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await client.control.until_endpoint("ep", "Failed")
    events = (await client.get("/gnomon/v1/events")).json()
    endpoint = [(e["before"], e["after"]) for e in events if e["kind"] == ENDPOINT.name]
    assert endpoint == [("Creating", "Failed"), ("", "Creating")]
    assert any("gone.tar.gz" in e["reason"] for e in events)


async def test_events_of_a_name_are_an_endpoint_s_and_its_instances(client):
    for name in ("ep", "ep-2", "epx"):
        await make_model(client.control, name)
        await make_config(client.control, name, name)
        await client.control.call("CreateEndpoint", EndpointName=name, EndpointConfigName=name)
        await client.control.until_endpoint(name, "InService")

    async def events(name):
        return (await client.get("/gnomon/v1/events", params={"name": name})).json()

    found = await events("EP")
    assert {(e["kind"], e["name"]) for e in found} == {
        ("endpoint", "ep"),
        ("instance", "ep/AllTraffic"),
    }
    instance = next(e["id"] for e in found if e["kind"] == "instance")
    assert [e["after"] for e in await events(instance)] == ["InService", "Starting", "Pending"]
    assert {e["name"].split("/")[0] for e in await events("ep-2")} == {"ep-2"}
    assert await events("nothing") == []


async def test_the_instances_of_an_endpoint_are_listed_also_when_it_failed_and_was_deleted(client):
    async def instances():
        return (await client.get("/gnomon/v1/endpoints/EP/instances")).json()

    await make_model(client.control, "m", "s3://bucket/gone.tar.gz")
    await make_config(client.control, "c", "m")
    await client.control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await client.control.until_endpoint("ep", "Failed")
    (failed,) = await instances()
    assert (failed["variant"], failed["status"]) == ("AllTraffic", "Failed")
    assert "gone.tar.gz" in failed["reason"]
    assert failed["ended_at_s"] >= failed["created_at_s"]

    await client.control.call("DeleteEndpoint", EndpointName="ep")

    async def is_gone():
        return (await client.control.call("ListEndpoints"))["Endpoints"] == []

    await client.control.until(is_gone, "no endpoint")
    assert await instances() == [failed]

    # One that is made anew under the name does not inherit.
    await make_model(client.control, "good")
    await make_config(client.control, "d", "good")
    await client.control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="d")
    await client.control.until_endpoint("ep", "InService")
    assert [instance["status"] for instance in await instances()] == ["InService"]


async def test_what_happens_to_an_instance_and_in_a_request_is_logged_with_their_ids(client):
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        await make_model(client.control, "m")
        await make_config(client.control, "c", "m")
        request = json.dumps({"EndpointName": "ep", "EndpointConfigName": "c"})
        answer = await client.post("/", headers=target("CreateEndpoint"), content=request)
        await client.control.until_endpoint("ep", "InService")
    request_id = answer.headers["x-amzn-requestid"]
    mine = [log["event"] for log in logs if log.get("request_id") == request_id]
    assert mine == ["endpoint Creating", "a request was carried out"]
    (instance,) = (await client.get("/gnomon/v1/endpoints/ep/instances")).json()
    about = [log for log in logs if log.get("instance") == instance["id"]]
    assert [log["event"] for log in about] == [
        "instance Pending",
        "instance Starting",
        "instance InService",
    ]
    assert all(log["name"] == "ep/AllTraffic" and "request_id" not in log for log in about)


async def test_a_refused_request_is_logged_with_its_id(client):
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        answer = await client.post("/", headers=target("CreateModel"), content=b"{}")
    (line,) = (log for log in logs if log["event"] == "a request was refused")
    assert line["request_id"] == answer.headers["x-amzn-requestid"]


async def test_the_extensions_describe_themselves(client):
    document = (await client.get("/gnomon/v1/openapi.json")).json()
    assert "/experiments/{name}/report" in document["paths"]
    assert json.dumps(document)


async def test_prometheus_is_told_totals_of_what_exists(client, tmp_path):
    await make_endpoint(client.control)
    async with client.control.transactions.database.reading() as connection:
        (instance,) = await instances_of(connection)
    key = {
        "endpoint_id": instance.endpoint_id,
        "variant_id": instance.variant_id,
        "instance_id": instance.id,
        "experiment_id": "",
    }
    latency = metric.MODEL_LATENCY_US
    counts = {
        metric.INVOCATIONS: 3.0,
        metric.DROPPED_PREFIX + "too_large": 2.0,
        metric.FAILED_PREFIX + "deadline": 1.0,
        latency + metric.SUM_SUFFIX: 2_004_000.0,
    }
    histogram = {bucket_of(2000): 2, bucket_of(2_000_000): 1}
    gone = {**key, "endpoint_id": "gone", "minute": 1, "name": metric.INVOCATIONS, "value": 9.0}
    async with client.telemetry.writing() as connection:
        for minute in (1, 2):
            rows = [{**key, "minute": minute, "name": n, "value": v} for n, v in counts.items()]
            await ingest.add_metric_counts(connection, rows)
            row = {**key, "minute": minute, "name": latency, "counts": histogram}
            await ingest.add_metric_histograms(connection, [row])
        await ingest.add_metric_counts(connection, [gone])
        await ingest.add_torn_segment(connection, "r", 1, at_s=7.0, torn_bytes=5)
    (tmp_path / "spool" / "r").mkdir(parents=True)
    (tmp_path / "spool" / "r" / "00000001.seg").write_bytes(b"1234")
    client.control.clock.shift_s = 50
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["gnomon_invocations_total", "ep", "AllTraffic"] == 6
    assert samples["gnomon_mirror_dropped_total", "ep", "too_large", "AllTraffic"] == 4
    assert samples["gnomon_invocation_failed_total", "ep", "deadline", "AllTraffic"] == 2
    latency = "gnomon_model_latency_seconds"
    assert samples[f"{latency}_count", "ep", "AllTraffic"] == 6
    assert samples[f"{latency}_sum", "ep", "AllTraffic"] == pytest.approx(4.008)
    assert [
        samples[f"{latency}_bucket", "ep", bound, "AllTraffic"]
        for bound in ("0.001", "0.0025", "1.0", "+Inf")
    ] == [0, 4, 4, 6]
    assert samples["gnomon_instances", "ep", "InService", "AllTraffic"] == 1
    assert samples["gnomon_endpoints", "InService"] == 1
    assert samples["gnomon_spool_waiting_bytes",] == 4
    assert 50 <= samples["gnomon_spool_waiting_seconds",] < 100
    names = ("ep", "AllTraffic-1", "AllTraffic")
    assert samples["gnomon_instance_cpu_cores", *names] == 1.5
    assert samples["gnomon_instance_memory_bytes", *names] == 2**30
    assert samples["gnomon_instance_memory_ratio", *names] == 0.25
    assert samples["gnomon_instance_disk_ratio", *names] == 0.5
    assert ("gnomon_instance_gpu_ratio", *names) not in samples
    assert samples["gnomon_spool_torn_segments",] == 1
    assert "gone" not in answer.text


async def test_how_an_experiment_is_judged_is_read_and_set(client):
    await make_endpoint(client.control)
    await make_model(client.control, "shad")
    await client.control.call("CreateInferenceExperiment", **experiment_request())
    path = "/gnomon/v1/experiments/exp/analysis"
    shown = (await client.get(path)).json()
    assert shown["settings"]["rules"]["slow_down"] == 1.1
    assert shown["guardrails"] == {"stop_when_broken": False, "promote_when_ready": False}
    body = {"settings": {"task": "regression"}, "guardrails": {"stop_when_broken": True}}
    changed = (await client.put(path, json=body)).json()
    assert (await client.get(path)).json() == changed
    assert changed["settings"]["task"] == "regression"
    assert changed["guardrails"]["stop_when_broken"] is True
    refused = await client.put(path, json={"settings": {"alpha": 7}})
    assert refused.status_code == 400
    assert "settings.alpha" in refused.json()["error"]
    assert (await client.put("/gnomon/v1/experiments/other/analysis")).status_code == 404


async def test_the_report_of_a_test_without_pairs_makes_no_figures_up(client):
    await make_endpoint(client.control)
    await make_model(client.control, "shad")
    await client.control.call("CreateInferenceExperiment", **experiment_request())
    await client.control.until_experiment("exp", "Running")
    report = (await client.get("/gnomon/v1/experiments/exp/report")).json()
    analysis = report["analysis"]
    assert analysis["verdict"]["status"] == "undecided"
    assert {rule["state"] for rule in analysis["verdict"]["rules"]} == {"open"}
    assert {measure["interval"]["type"] for measure in analysis["measures"]} == {"inconclusive"}
    assert report["progress"] == []
    assert report["distributions"] == {"production": [], "shadow": []}


async def test_the_api_document_describes_the_body_of_an_analysis(client):
    document = (await client.get("/gnomon/v1/openapi.json")).json()
    schemas = document["components"]["schemas"]
    put = document["paths"]["/experiments/{name}/analysis"]["put"]
    reference = put["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert schemas[reference.rpartition("/")[2]]["properties"].keys() == {"settings", "guardrails"}
    assert schemas["Rules"]["properties"]["slow_down"]["default"] == 1.1
