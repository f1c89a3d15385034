"""Lines about requests, as many as were asked for."""

import asyncio

import pytest
from structlog.testing import capture_logs

from gnomon.router import access_log
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import streaming
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


async def lines_of(tmp_path, model, share, ask):
    """What the log says of what `ask` does with a router."""
    settings = RouterSettings(access_log_share=share, drain_idle_s=0.0)
    with capture_logs() as logged:
        async with running_router(tmp_path, settings=settings) as rig:
            await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
            await ask(rig)
    return [line for line in logged if line["event"] == "request"]


async def test_a_line_says_what_was_asked_and_answered(tmp_path, model):
    found = []

    async def ask(rig):
        found.append(await rig.invoke("demo", b"1234"))
        await rig.invoke("other")

    good, bad = await lines_of(tmp_path, model, 1.0, ask)
    assert good["log_level"] == "info"
    assert (good["method"], good["url"]) == ("POST", "/endpoints/demo/invocations")
    assert (good["status"], good["request_bytes"], good["answer_bytes"]) == (200, 4, 4)
    assert good["request_id"] == found[0].headers["x-amzn-requestid"]
    assert good["instance"] == found[0].headers["x-gnomon-instance"]
    assert good["variant"] == "AllTraffic"
    assert 0 < good["took_ms"] < 10_000
    assert (bad["status"], bad["error"]) == (400, "ValidationError")


async def test_a_stream_is_one_line_with_all_its_bytes(tmp_path, model):
    model.behaviour = fake_upstream.answer(200, b"x" * 1000)

    async def ask(rig):
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            while await client.read_chunk():
                pass

    (line,) = await lines_of(tmp_path, model, 1.0, ask)
    assert line["status"] == 200
    assert line["answer_bytes"] > 1000


async def test_a_client_that_left_is_a_line_without_status(tmp_path, model):
    model.behaviour = fake_upstream.Gate()

    async def ask(rig):
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await until(lambda: model.requests)
        client.writer.transport.abort()
        model.behaviour.open()
        await until(lambda: not rig.router._clients.open)

    (line,) = await lines_of(tmp_path, model, 1.0, ask)
    assert line["url"].endswith("-response-stream")


async def test_a_share_of_the_requests_is_logged(tmp_path, model):
    async def ask(rig):
        await asyncio.gather(*(rig.invoke("demo") for _ in range(200)))

    assert 20 < len(await lines_of(tmp_path, model, 0.25, ask)) < 90
    assert await lines_of(tmp_path, model, 0.0, ask) == []


async def test_what_is_too_much_is_counted(tmp_path, model, monkeypatch):
    monkeypatch.setattr(access_log, "_MOST", 3)
    settings = RouterSettings(access_log_share=1.0, drain_idle_s=0.0)
    with capture_logs() as logged:
        async with running_router(tmp_path, settings=settings) as rig:
            await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
            # In one moment: no second passes between them.
            await asyncio.gather(*(rig.invoke("other") for _ in range(50)))
    requests = [line for line in logged if line["event"] == "request"]
    passed_over = sum(
        line["count"] for line in logged if line["event"] == "requests were not logged"
    )
    assert passed_over > 0
    assert len(requests) + passed_over == 50
