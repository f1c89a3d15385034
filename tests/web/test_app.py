"""The application over ASGI: what control serves, with real databases and no sockets."""

import json

import httpx
import pytest
import structlog

from gnomon.aws.json_protocol import MAX_BODY_BYTES
from gnomon.control.cloudwatch import api as cloudwatch
from gnomon.control.cloudwatch.api import CloudWatch
from gnomon.control.cloudwatch.reading import Readings
from gnomon.control.reports import Reports
from gnomon.control.status import Machine, Status
from gnomon.control.warnings import Warnings
from gnomon.model.lifecycle import ENDPOINT
from gnomon.settings import MetricSettings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.fake_host import FakeMachine
from gnomon.testing.requests import make_config, make_endpoint, make_model
from gnomon.web.app import build_app


def warnings(control, telemetry, path):
    databases = (control.transactions.database, telemetry)
    report_of = control.feed.report_of
    return Warnings(control.api.floor, databases, report_of, path / "spool", control.clock)


@pytest.fixture
async def client(tmp_path):
    url = sqlite_url(tmp_path / "telemetry.db")
    await migrate("telemetry", url)
    telemetry = Database(url)
    async with (
        FakeMachine(listens=True).closing() as machine,
        running_control(tmp_path, machine, FakeClock()) as control,
    ):
        app = build_app(
            control.api,
            CloudWatch(
                cloudwatch.load(), Readings(control.transactions, telemetry, MetricSettings())
            ),
            Reports(control.transactions, telemetry),
            Status(
                control.transactions,
                warnings(control, telemetry, tmp_path),
                Machine(cores=2, memory_bytes=2**33),
                runs_here,
            ),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gnomon") as client:
            client.control = control
            yield client
    await telemetry.close()


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
    nothing = ("warnings", "endpoints", "instances", "experiments", "routers")
    assert status == {name: [] for name in nothing}


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
    await make_model(client.control, "m", "s3://bucket/missing.tar.gz")
    await make_config(client.control, "c", "m")
    await client.control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await client.control.until_endpoint("ep", "Failed")
    events = (await client.get("/gnomon/v1/events")).json()
    endpoint = [(e["before"], e["after"]) for e in events if e["kind"] == ENDPOINT.name]
    assert endpoint == [("Creating", "Failed"), ("", "Creating")]
    assert any("missing.tar.gz" in e["reason"] for e in events)


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

    await make_model(client.control, "m", "s3://bucket/missing.tar.gz")
    await make_config(client.control, "c", "m")
    await client.control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await client.control.until_endpoint("ep", "Failed")
    (failed,) = await instances()
    assert (failed["variant"], failed["status"]) == ("AllTraffic", "Failed")
    assert "missing.tar.gz" in failed["reason"]
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
