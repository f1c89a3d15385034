"""Production's way: a client's request, one instance, the answer."""

import asyncio
import re

import boto3
import pytest
from botocore.config import Config

from gnomon.model import metric
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import NOBODY, endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model):
    async with running_router(tmp_path) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


def runtime(port):
    """A real client that tries once."""
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )


async def test_the_models_answer_reaches_the_client(rig):
    answer = await rig.invoke("demo", b"1,2,3", content_type="text/csv")
    assert answer.status == 200
    assert answer.body == b"1,2,3"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert answer.headers["x-gnomon-instance"].startswith("AllTraffic-")
    assert answer.headers["x-amzn-requestid"] == answer.headers["x-gnomon-event-id"]


async def test_the_model_gets_the_request_as_the_container_contract_has_it(rig, model):
    answer = await rig.invoke(
        "demo",
        b"body",
        Content_Type="text/csv",
        X_Amzn_SageMaker_Inference_Id="i-1",
        Authorization="AWS4-HMAC-SHA256 secret",
    )
    (request,) = model.requests
    assert (request.method, request.path, request.body) == ("POST", "/invocations", b"body")
    assert request.headers == {
        "host": f"127.0.0.1:{model.port}",
        "content-type": "text/csv",
        "x-amzn-sagemaker-inference-id": "i-1",
        "content-length": "4",
        "x-gnomon-event-id": answer.headers["x-gnomon-event-id"],
    }


async def test_boto3_reads_an_answer(rig, model):
    model.behaviour = fake_upstream.answer(
        200, b"0.5", Content_Type="text/csv", X_Amzn_SageMaker_Custom_Attributes="seen"
    )
    client = runtime(rig.port)
    answer = await asyncio.to_thread(client.invoke_endpoint, EndpointName="demo", Body=b"1,2")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "seen"
    assert answer["ContentType"] == "text/csv"
    assert answer["Body"].read() == b"0.5"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["ResponseMetadata"]["RequestId"])


async def test_boto3_reads_the_members_of_a_models_error(rig, model):
    model.behaviour = fake_upstream.answer(503, b"busy")
    client = runtime(rig.port)
    with pytest.raises(client.exceptions.ModelError) as raised:
        await asyncio.to_thread(client.invoke_endpoint, EndpointName="demo", Body=b"1")
    error = raised.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["OriginalStatusCode"] == 503
    assert error["OriginalMessage"] == "busy"
    assert error["LogStreamArn"].startswith("arn:aws:logs:eu-central-1:123456789012:")
    assert error["Error"]["Message"].startswith("Received server error (503) from primary")


async def test_boto3_reads_that_an_endpoint_is_not_there(rig):
    client = runtime(rig.port)
    with pytest.raises(client.exceptions.ClientError) as raised:
        await asyncio.to_thread(client.invoke_endpoint, EndpointName="other", Body=b"1")
    assert raised.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint other of account 123456789012 not found.",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/endpoints/demo/invocations", 405),
        ("POST", "/endpoints/demo/other", 404),
        ("POST", "/endpoints/demo", 404),
        ("POST", "/endpoints/demo/invocations-response-stream", 200),
        ("POST", "/endpoints/Demo/invocations", 400),
        ("POST", "/endpoints/demo/invocations?a=b", 200),
        ("POST", "http://localhost/endpoints/demo/invocations", 200),
        ("POST", "/endpoints/d%65mo/invocations", 200),
    ],
)
async def test_what_lies_under_endpoints(rig, method, path, status):
    async with rig.client() as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        assert (await client.ask(head.encode())).status == status


async def test_a_target_variant_overrides_the_weights(tmp_path, model):
    async with FakeUpstream() as other, running_router(tmp_path) as rig:
        variants = (variant("a", model.port, weight=1.0), variant("b", other.port, weight=0.0))
        await rig.apply(endpoint("demo", *variants))
        answer = await rig.invoke("demo", X_Amzn_SageMaker_Target_Variant="b")
        assert answer.headers["x-amzn-invoked-production-variant"] == "b"
        missing = await rig.invoke("demo", X_Amzn_SageMaker_Target_Variant="c")
        assert missing.status == 400
        assert missing.headers["x-amzn-errortype"] == "ValidationError"


async def test_a_shadow_cannot_be_targeted(tmp_path, model):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("p", model.port), shadow=variant("s", model.port)))
        answer = await rig.invoke("demo", X_Amzn_SageMaker_Target_Variant="s")
    assert answer.status == 400


async def test_variants_share_requests_by_weight(tmp_path, model):
    async with FakeUpstream() as other, running_router(tmp_path, seed=1) as rig:
        variants = (variant("a", model.port, weight=3.0), variant("b", other.port, weight=1.0))
        await rig.apply(endpoint("demo", *variants))
        for _ in range(200):
            await rig.invoke("demo")
    assert 30 <= len(other.requests) <= 70


async def test_a_model_that_is_too_slow_is_a_model_error_of_status_0(tmp_path, model):
    model.behaviour = fake_upstream.hang
    settings = RouterSettings(model_time_limit_s=0.2, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        answer = await rig.invoke("demo")
        rig.flush()
    assert answer.status == 424
    assert b'"OriginalStatusCode":0' in answer.body
    assert b"Your invocation timed out" in answer.body
    assert rig.spool.counts("v-AllTraffic")[metric.MODEL_ERRORS] == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        fake_upstream.reset,
        fake_upstream.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", ends=True),
        fake_upstream.raw(b"nonsense\r\n\r\n"),
        fake_upstream.raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ],
)
async def test_an_answer_that_is_none_is_a_model_error_of_status_0(rig, model, behaviour):
    model.behaviour = behaviour
    answer = await rig.invoke("demo")
    rig.flush()
    assert answer.status == 424
    assert b'"OriginalStatusCode":0' in answer.body
    counts = rig.spool.counts("v-AllTraffic")
    assert counts[metric.MODEL_ERRORS] == counts[metric.INVOCATIONS] == 1


async def test_no_instance_means_service_unavailable(rig):
    await rig.apply(endpoint("demo", variant("AllTraffic"), version=2))
    answer = await rig.invoke("demo")
    assert answer.status == 503
    assert answer.headers["x-amzn-errortype"] == "ServiceUnavailable"


async def test_a_refused_request_goes_to_another_instance(rig, model):
    await rig.apply(endpoint("demo", variant("AllTraffic", NOBODY, model.port), version=2))
    answers = [await rig.invoke("demo") for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 8
    assert len(model.requests) == 8
    rig.flush()
    assert rig.spool.counts("v-AllTraffic")[metric.INVOCATIONS] == 8
    assert rig.spool.counts("v-AllTraffic")[metric.EJECTIONS] == 1


async def test_a_refused_request_without_another_instance_is_service_unavailable(rig):
    await rig.apply(endpoint("demo", variant("AllTraffic", NOBODY), version=2))
    assert (await rig.invoke("demo")).status == 503


async def test_a_request_that_was_sent_is_never_sent_again(rig, model):
    model.behaviour = fake_upstream.reset
    async with FakeUpstream(behaviour=fake_upstream.reset) as other:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port, other.port), version=2))
        answer = await rig.invoke("demo")
    assert answer.status == 424
    assert len(model.requests) + len(other.requests) == 1


async def test_least_outstanding_spreads_requests_that_wait(tmp_path):
    gates = [fake_upstream.Gate(), fake_upstream.Gate()]
    async with (
        FakeUpstream(gates[0]) as first,
        FakeUpstream(gates[1]) as second,
        running_router(tmp_path) as rig,
    ):
        await rig.apply(endpoint("demo", variant("AllTraffic", first.port, second.port)))
        waiting = [asyncio.create_task(rig.invoke("demo")) for _ in range(6)]
        await until(lambda: len(first.requests) + len(second.requests) == 6)
        assert len(first.requests) == len(second.requests) == 3
        for gate in gates:
            gate.open()
        await asyncio.gather(*waiting)


async def test_metrics_name_variant_and_instance(rig, model):
    await rig.invoke("demo")
    model.behaviour = fake_upstream.answer(404, b"no")
    await rig.invoke("demo")
    rig.flush()
    instance = f"AllTraffic-{model.port}"
    counts = rig.spool.counts("v-AllTraffic", instance_id=instance)
    assert counts.pop(metric.MODEL_LATENCY_US + metric.SUM_SUFFIX) > 0
    assert counts.pop(metric.OVERHEAD_LATENCY_US + metric.SUM_SUFFIX) > 0
    assert counts == {
        metric.INVOCATIONS: 2,
        metric.INVOCATIONS_PER_INSTANCE: 2,
        metric.MODEL_ERRORS: 1,
        metric.ERRORS_4XX: 1,
    }


async def test_a_client_that_leaves_harms_nobody(rig, model):
    gate = fake_upstream.Gate()
    model.behaviour = gate
    async with rig.client() as client:
        await client.send(b"POST /endpoints/demo/invocations HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: model.requests)
    gate.open()
    model.behaviour = fake_upstream.echo
    assert (await rig.invoke("demo", b"next")).body == b"next"


async def test_an_answer_over_the_limit_is_a_model_error(tmp_path, model):
    settings = RouterSettings(max_answer_bytes=1000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        assert (await rig.invoke("demo", b"x" * 1000)).status == 200
        assert (await rig.invoke("demo", b"x" * 1001)).status == 424
