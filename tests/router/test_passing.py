"""What is not an endpoint's goes to control as it came."""

import pytest

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
