"""What is not an endpoint's goes to control as it came."""

import asyncio
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gnomon.app.listening import passing_socket
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import post
from gnomon.testing.router_rig import running_router


@pytest.fixture
async def control():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, control):
    async with running_router(tmp_path, control=("127.0.0.1", control.port)) as running:
        yield running


async def test_a_request_reaches_control_unchanged(rig, control):
    async with rig.client() as client:
        answer = await client.ask(
            post(
                "/?Action=GetMetricStatistics&x=%2F",
                b"{}",
                X_Amz_Target="SageMaker.ListModels",
                Authorization="AWS4-HMAC-SHA256 Signature=f00",
            )
        )
    assert answer.body == b"{}"
    (request,) = control.requests
    assert request.path == "/?Action=GetMetricStatistics&x=%2F"
    assert request.headers == {
        "host": "test",
        "x-amz-target": "SageMaker.ListModels",
        "authorization": "AWS4-HMAC-SHA256 Signature=f00",
        "content-length": "2",
    }


async def test_controls_answer_comes_back_with_status_and_headers(rig, control):
    control.behaviour = fake_upstream.answer(
        400, b"no", Content_Type="application/x-amz-json-1.1", x_amzn_requestid="r-1"
    )
    async with rig.client() as client:
        answer = await client.ask(post("/", b"{}"))
    assert (answer.status, answer.body) == (400, b"no")
    assert answer.headers == {
        "content-type": "application/x-amz-json-1.1",
        "x-amzn-requestid": "r-1",
        "content-length": "2",
    }


async def test_methods_and_heads_without_bodies_pass(rig, control):
    control.behaviour = fake_upstream.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    async with rig.client() as client:
        await client.send(b"HEAD /gnomon HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await client.read(to_head_request=True)
        assert answer.headers["content-length"] == "5"
        control.behaviour = fake_upstream.answer(200, b"pong")
        assert (await client.ask(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n")).body == b"pong"
    assert [request.method for request in control.requests] == ["HEAD", "GET"]


async def test_answers_without_a_body_pass(rig, control):
    control.behaviour = fake_upstream.raw(b"HTTP/1.1 304 Not Modified\r\nETag: e\r\n\r\n")
    async with rig.client() as client:
        answer = await client.ask(b"GET /static HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.status == 304
    assert "content-length" not in answer.headers


async def test_control_that_is_away_is_a_503(rig, control):
    await control.stop()
    async with rig.client() as client:
        answer = await client.ask(post("/", b"{}"))
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/json"
        await control.start()
        assert (await client.ask(post("/", b"back"))).body == b"back"


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("sagemaker", "list_models"),
        ("cloudwatch", "list_metrics"),
        # Speaks the query protocol, as older clients of CloudWatch do.
        ("sts", "get_caller_identity"),
    ],
)
async def test_clients_of_every_protocol_read_that_control_is_away(tmp_path, service, operation):
    async with running_router(tmp_path) as rig:
        client = boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{rig.port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(ClientError) as refused:
            await asyncio.to_thread(getattr(client, operation))
    found = refused.value.response
    assert found["Error"]["Code"] == "ServiceUnavailable"
    assert "control process cannot be reached" in found["Error"]["Message"]
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert found["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


async def test_control_is_reached_by_a_unix_socket_however_deep_it_lies(tmp_path):
    path = Path(tmp_path / ("d" * 110)) / "control.sock"
    path.parent.mkdir()

    async def pong(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\npong")
        writer.close()

    async with running_router(tmp_path, control=path) as rig, rig.client() as client:
        # Never there, there, killed.
        assert (await client.ask(post("/", b"{}"))).status == 503
        with closing(passing_socket(path)) as listener:
            async with await asyncio.start_unix_server(pong, sock=listener):
                assert (await client.ask(post("/", b"{}"))).body == b"pong"
        assert (await client.ask(post("/", b"{}"))).status == 503
