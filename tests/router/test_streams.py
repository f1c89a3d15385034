"""InvokeEndpointWithResponseStream: the model's chunks as they come, and what is kept of them."""

import asyncio
import contextlib
import hashlib
import json
import time

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import EventStreamError
from structlog.testing import capture_logs

from gnomon.aws import event_stream
from gnomon.model import metric
from gnomon.model.snapshot import Capture
from gnomon.settings import RouterSettings
from gnomon.spool.frames import Exchange, Metrics, Pair
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Faucet
from gnomon.testing.raw_http import invocation, streaming
from gnomon.testing.router_rig import endpoint, running_router, until, variant

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model):
    async with running_router(tmp_path) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


def mirrored(model, shadow, **changes):
    return endpoint(
        "demo", variant("prod", model.port), shadow=variant("shadow", shadow.port), **changes
    )


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


class Events:
    """The messages of one answer, as they come over a raw connection."""

    def __init__(self, client):
        self._client = client
        self._buffer = EventStreamBuffer()

    async def next(self):
        """The next message; None at the end of the answer."""
        while True:
            for message in self._buffer:
                return message
            chunk = await self._client.read_chunk()
            if not chunk:
                return None
            self._buffer.add_data(chunk)

    async def payload(self):
        return (await self.next()).payload


async def test_a_chunk_reaches_the_client_before_the_next_is_there(rig, model):
    faucet = model.behaviour = Faucet(content_type="text/csv")
    async with rig.client() as client:
        await client.send(streaming("demo", b"{}"))
        head = await client.read_head()
        assert head.status == 200
        assert head.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert head.headers["x-amzn-sagemaker-content-type"] == "text/csv"
        assert head.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        assert head.headers["x-amzn-requestid"] == head.headers["x-gnomon-event-id"]
        events = Events(client)
        for part in (b"one", b"two", b"three"):
            await faucet.drip(part)
            assert await events.payload() == part
        await faucet.close()
        assert await events.next() is None
        # The connection is kept.
        model.behaviour = fake_upstream.echo
        assert (await client.ask(invocation("demo", b"next"))).body == b"next"
    assert model.connections == 1


async def test_boto3_reads_a_stream(rig, model):
    model.behaviour = fake_upstream.raw(CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")

    def ask():
        with contextlib.closing(runtime(rig.port)) as client:
            answer = client.invoke_endpoint_with_response_stream(
                EndpointName="demo", Body=b"1,2", Accept="text/plain", ContentType="text/csv"
            )
            with contextlib.closing(answer["Body"]) as events:
                return answer, [event["PayloadPart"]["Bytes"] for event in events]

    answer, parts = await asyncio.to_thread(ask)
    assert parts == [b"ab", b"cde"]
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    (request,) = model.requests
    assert request.path == "/invocations"
    assert request.body == b"1,2"
    assert request.headers["accept"] == "text/plain"
    assert request.headers["content-type"] == "text/csv"
    assert "x-amzn-sagemaker-accept" not in request.headers


async def test_boto3_reads_that_a_stream_broke(rig, model):
    model.behaviour = fake_upstream.raw(CHUNKED + b"2\r\nab\r\n", ends=True)

    def ask():
        with contextlib.closing(runtime(rig.port)) as client:
            answer = client.invoke_endpoint_with_response_stream(EndpointName="demo", Body=b"")
            with contextlib.closing(answer["Body"]), pytest.raises(EventStreamError) as raised:
                list(answer["Body"])
        return raised.value.response["Error"]["Code"]

    assert await asyncio.to_thread(ask) == "ModelStreamError"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"2\r\nab\r\n", "StreamBroken"),
        (b"2\r\nab\r\nnonsense", "StreamBroken"),
    ],
)
async def test_a_stream_that_breaks_ends_with_its_error(rig, model, data, code):
    model.behaviour = fake_upstream.raw(CHUNKED + data, ends=True)
    async with rig.client() as client:
        await client.send(streaming("demo"))
        await client.read_head()
        events = Events(client)
        assert await events.payload() == b"ab"
        error = await events.next()
        assert error.headers[":message-type"] == "exception"
        assert error.headers[":exception-type"] == "ModelStreamError"
        assert json.loads(error.payload)["ErrorCode"] == code
        assert await events.next() is None
        model.behaviour = fake_upstream.echo
        assert (await client.ask(invocation("demo", b"next"))).body == b"next"
    rig.flush()
    counts = rig.spool.counts("v-AllTraffic")
    assert counts[metric.MODEL_ERRORS] == 1
    assert counts[metric.INVOCATIONS] == 2
    assert metric.EJECTIONS not in counts


async def test_a_failure_of_gnomons_own_is_said_in_the_stream(tmp_path, model, shadow, monkeypatch):
    def fail(_parts):
        raise ValueError("a fault")

    monkeypatch.setattr(event_stream, "payload_parts", fail)
    model.behaviour = fake_upstream.answer(200, b"abc")
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            head = await client.read_head()
            events = Events(client)
            error = await events.next()
            assert error.headers[":exception-type"] == "InternalStreamFailure"
            assert head.headers["x-amzn-requestid"] in json.loads(error.payload)["Message"]
            assert await events.next() is None
        await until(lambda: rig.spool.of(Pair))
    assert rig.spool.of(Pair)[0].production.body == b"abc"


async def test_an_instance_whose_stream_broke_stays_in_use(tmp_path, model, shadow):
    model.behaviour = shadow.behaviour = fake_upstream.raw(CHUNKED + b"2\r\nab\r\n", ends=True)
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port, shadow.port)))
        for _ in range(4):
            async with rig.client() as client:
                await client.send(streaming("demo"))
                await client.read_head()
                events = Events(client)
                while await events.next() is not None:
                    pass
        rig.flush()
    assert metric.EJECTIONS not in rig.spool.counts("v-AllTraffic")


async def test_a_stream_that_does_not_end_in_time_is_ended(tmp_path, model):
    faucet = model.behaviour = Faucet()
    settings = RouterSettings(stream_time_limit_s=0.2, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            await faucet.drip(b"a")
            events = Events(client)
            assert await events.payload() == b"a"
            error = await events.next()
            assert json.loads(error.payload)["ErrorCode"] == "ModelInvocationTimeExceeded"
        rig.flush()
    assert rig.spool.counts("v-AllTraffic")[metric.FAILED_PREFIX + "deadline"] == 1


async def test_a_stream_may_last_longer_than_a_whole_answer(tmp_path, model):
    faucet = model.behaviour = Faucet()
    settings = RouterSettings(model_time_limit_s=0.2, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            # One that waits for its head still has the shorter limit.
            model.behaviour = fake_upstream.hang
            assert (await rig.invoke("demo")).status == 424
            await faucet.drip(b"late")
            assert await Events(client).payload() == b"late"
            await faucet.close()


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (fake_upstream.answer(503, b"busy"), 424, "ModelError"),
        (fake_upstream.reset, 424, "ModelError"),
        (fake_upstream.raw(b"nonsense\r\n\r\n"), 424, "ModelError"),
    ],
)
async def test_an_error_before_the_stream_is_an_answer_of_its_own(
    rig, model, behaviour, status, code
):
    model.behaviour = behaviour
    async with rig.client() as client:
        answer = await client.ask(streaming("demo"))
    assert answer.status == status
    assert answer.headers["x-amzn-errortype"] == code


async def test_an_unknown_endpoint_has_no_stream(rig):
    async with rig.client() as client:
        answer = await client.ask(streaming("other"))
        assert answer.status == 400
        assert b"Endpoint other of account 123456789012 not found." in answer.body


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
    ],
)
async def test_an_empty_answer_is_a_stream_without_parts(rig, model, data):
    model.behaviour = fake_upstream.raw(data)
    async with rig.client() as client:
        await client.send(streaming("demo"))
        assert (await client.read_head()).status == 200
        assert await Events(client).next() is None


async def test_an_answer_that_ends_with_its_connection_is_streamed(rig, model):
    model.behaviour = fake_upstream.raw(b"HTTP/1.0 200 OK\r\n\r\nabc", ends=True)
    async with rig.client() as client:
        await client.send(streaming("demo"))
        await client.read_head()
        events = Events(client)
        assert await events.payload() == b"abc"
        assert await events.next() is None


async def test_a_client_of_http_1_0_gets_the_stream_without_chunks(rig, model):
    model.behaviour = fake_upstream.answer(200, b"abc")
    async with rig.client() as client:
        await client.send(streaming("demo").replace(b"HTTP/1.1", b"HTTP/1.0"))
        head = await client.read_head()
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        buffer = EventStreamBuffer()
        buffer.add_data(await client.reader.read())
        assert [message.payload for message in buffer] == [b"abc"]


async def test_a_request_behind_a_stream_is_answered_after_it(rig, model):
    faucet = model.behaviour = Faucet()
    async with rig.client() as client:
        await client.send(streaming("demo") + invocation("none"))
        await client.read_head()
        await faucet.drip(b"a")
        events = Events(client)
        assert await events.payload() == b"a"
        await faucet.close()
        assert await events.next() is None
        assert (await client.read()).status == 400


async def test_a_slow_client_slows_the_model_and_gets_all(rig, model):
    part = b"x" * 100_000
    faucet = model.behaviour = Faucet()
    async with rig.client() as client:
        await client.send(streaming("demo"))
        await client.read_head()
        for _ in range(400):
            await faucet.drip(part)
        await faucet.close()
        (connection,) = rig.router._clients.open
        (upstream,) = _pool(rig)._streaming
        # 40 MB: more than all buffers on the way take.
        await until(lambda: not upstream._transport.is_reading())
        assert connection._transport.get_write_buffer_size() < 1_000_000
        events = Events(client)
        total = 0
        while (message := await events.next()) is not None:
            total += len(message.payload)
        assert total == 400 * len(part)
        # The model's connection is read again.
        model.behaviour = fake_upstream.echo
        assert (await client.ask(invocation("demo", b"next"))).body == b"next"


@pytest.mark.slow
async def test_what_a_client_does_not_take_costs_the_model_no_time(tmp_path, model):
    faucet = model.behaviour = Faucet()
    settings = RouterSettings(stream_time_limit_s=1.0, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        async with rig.client() as client:
            sent_s = time.monotonic()
            await client.send(streaming("demo"))
            await client.read_head()
            for _ in range(400):
                await faucet.drip(b"x" * 100_000)
            (connection,) = rig.router._clients.open
            await until(lambda: connection._is_writing_held)
            held_since_s = time.monotonic()
            # Several sweeps past the limit.
            await until(lambda: time.monotonic() - held_since_s > 1.5)
            events = Events(client)
            total = 0
            while total < 40_000_000:
                total += len(await events.payload())
            # From here on the time is the model's again.
            error = await events.next()
            assert json.loads(error.payload)["ErrorCode"] == "ModelInvocationTimeExceeded"
            took_s = time.monotonic() - sent_s
        rig.flush()
    counts = rig.spool.counts("v-AllTraffic")
    assert counts[metric.FAILED_PREFIX + "deadline"] == 1
    assert counts[metric.MODEL_LATENCY_US + metric.SUM_SUFFIX] < (took_s - 1.5) * 1e6


# Clients are looked at once a second.
@pytest.mark.slow
async def test_a_client_that_takes_nothing_is_given_up_and_the_model_is_not_blamed(
    tmp_path, model, shadow
):
    faucet = model.behaviour = shadow.behaviour = Faucet()
    settings = RouterSettings(answer_time_limit_s=0.2, access_log_share=1.0, drain_idle_s=0.0)
    with capture_logs() as logged:
        async with running_router(tmp_path, settings=settings) as rig:
            await rig.apply(mirrored(model, shadow))
            async with rig.client() as client:
                await client.send(streaming("demo"))
                await client.read_head()
                for _ in range(200):
                    await faucet.drip(b"x" * 100_000)
                # It reads nothing.
                client.writer.transport.pause_reading()
                await until(lambda: not rig.router._clients.open)
            await faucet.close()
            await until(lambda: rig.spool.of(Pair))
            rig.flush()
    (pair,) = rig.spool.of(Pair)
    assert (pair.production.status, pair.production.body_bytes) == (200, 20_000_000)
    counts = rig.spool.counts("v-prod")
    assert (counts[metric.INVOCATIONS], counts[metric.CLIENTS_STALLED]) == (1, 1)
    assert metric.MODEL_ERRORS not in counts
    (line,) = [line for line in logged if line["event"] == "request"]
    assert (line["status"], line["ended"]) == (200, "client_stalled")


def _pool(rig):
    (instance,) = rig.router._routes.by_id["e-demo"].instances.values()
    return instance.pool


async def test_a_client_that_leaves_a_stream_is_counted_and_paired(tmp_path, model, shadow):
    faucet = model.behaviour = shadow.behaviour = Faucet()
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
        for _ in range(50):
            await faucet.drip(b"x" * 100_000)
        await until(lambda: not rig.router._clients.open)
        await faucet.close()
        await until(lambda: rig.spool.of(Pair))
        rig.flush()
    (pair,) = rig.spool.of(Pair)
    assert pair.production.status == pair.shadow.status == 200
    assert pair.production.body_bytes == pair.shadow.body_bytes == 5_000_000
    assert rig.spool.counts("v-prod")[metric.INVOCATIONS] == 1


async def test_a_client_that_stops_reading_and_leaves_holds_the_model_no_longer(
    tmp_path, model, shadow
):
    faucet = model.behaviour = Faucet()
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            for _ in range(200):
                await faucet.drip(b"x" * 100_000)
            await faucet.close()
            (connection,) = rig.router._clients.open
            await until(lambda: connection._is_writing_held)
            client.writer.transport.abort()
        await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert pair.production.body_bytes == 20_000_000


async def test_both_streams_are_timed_and_joined(tmp_path, model, shadow):
    theirs, ours = Faucet(), Faucet()
    model.behaviour, shadow.behaviour = theirs, ours
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo", b"{}"))
            await client.read_head()
            events = Events(client)
            await theirs.drip(b"same ")
            assert await events.payload() == b"same "
            await theirs.drip(b"text")
            await theirs.close()
            while await events.next() is not None:
                pass
        assert rig.spool.of(Pair) == []
        await until(lambda: shadow.requests)
        await ours.drip(b"same text")
        await ours.close()
        await until(lambda: rig.spool.of(Pair))
        rig.flush()
    (pair,) = rig.spool.of(Pair)
    production, copy = pair.production, pair.shadow
    assert production.body == copy.body == b"same text"
    assert production.body_bytes == copy.body_bytes == 9
    assert 0 < production.first_chunk_us < production.latency_us
    assert 0 < copy.first_chunk_us <= copy.latency_us
    assert shadow.requests[0].headers["x-gnomon-shadow"] == "shadow"
    names = {
        (delta.variant_id, name)
        for frame in rig.spool.of(Metrics)
        for delta in frame.deltas
        for name in delta.histograms
    }
    assert {("v-prod", metric.FIRST_CHUNK_US), ("v-shadow", metric.FIRST_CHUNK_US)} <= names


async def test_of_a_long_stream_a_pair_has_the_beginning_and_the_hash(tmp_path, model, shadow):
    body = bytes(range(256)) * 1000
    model.behaviour = shadow.behaviour = fake_upstream.raw(
        CHUNKED
        + b"".join(b"3e8\r\n%b\r\n" % body[n : n + 1000] for n in range(0, 256_000, 1000))
        + b"0\r\n\r\n"
    )
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    for side in (pair.production, pair.shadow):
        assert side.body == body[:65536]
        assert side.body_bytes == 256_000
        assert side.sha256 == hashlib.sha256(body).digest()


async def test_a_shadow_that_breaks_its_stream_is_half_of_a_pair(tmp_path, model, shadow):
    model.behaviour = fake_upstream.answer(200, b"whole")
    shadow.behaviour = fake_upstream.raw(CHUNKED + b"2\r\nab\r\n", ends=True)
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            events = Events(client)
            assert await events.payload() == b"whole"
            assert await events.next() is None
        await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert pair.production.status == 200
    assert (pair.shadow.status, pair.shadow.failure) == (0, "reset")
    assert (pair.shadow.body, pair.shadow.body_bytes) == (b"ab", 2)


async def test_a_shadows_error_is_whole_in_the_pair(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(500, b"why")
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo", b"x"))
            await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert (pair.shadow.status, pair.shadow.body, pair.shadow.first_chunk_us) == (500, b"why", None)


async def test_a_shadows_stream_over_the_limit_is_cut_and_counted(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.raw(CHUNKED + b"3e8\r\n%b\r\n" % (b"x" * 1000) * 200)
    settings = RouterSettings(mirror_max_answer_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(mirrored(model, shadow))
        async with rig.client() as client:
            await client.send(streaming("demo", b"x"))
            assert (await client.read_head()).status == 200
            await until(lambda: rig.router.copies_in_flight == 0)
        rig.flush()
    assert rig.spool.counts("v-shadow")["dropped.too_large"] == 1
    assert rig.spool.of(Pair) == []


async def test_streams_are_captured_whole(tmp_path, model, shadow):
    model.behaviour = shadow.behaviour = fake_upstream.raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    )
    async with running_router(tmp_path) as rig:
        await rig.apply(mirrored(model, shadow, captures=[Capture("c", "x-demo")]))
        async with rig.client() as client:
            await client.send(streaming("demo", b"in"))
            await until(lambda: len(rig.spool.of(Exchange)) == 2)
    for exchange in rig.spool.of(Exchange):
        assert (exchange.request_body, exchange.response_body) == (b"in", b"abcde")
        assert exchange.response_content_type == "text/csv"


async def test_a_stream_too_long_to_capture_is_captured_without_its_answer(tmp_path, model):
    model.behaviour = fake_upstream.answer(200, b"x" * 100_001)
    settings = RouterSettings(max_answer_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(endpoint("demo", variant("prod", model.port), captures=[Capture("c", "")]))
        async with rig.client() as client:
            await client.send(streaming("demo", b"in"))
            await until(lambda: rig.spool.of(Exchange))
        rig.flush()
    (exchange,) = rig.spool.of(Exchange)
    assert (exchange.request_body, exchange.response_body) == (b"in", None)
    assert rig.spool.counts("v-prod")[metric.CAPTURES_CUT] == 1


async def test_a_draining_router_ends_its_streams_first(tmp_path, model):
    faucet = model.behaviour = Faucet()
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", model.port)))
        async with rig.client() as client:
            await client.send(streaming("demo"))
            await client.read_head()
            draining = asyncio.create_task(rig.router.drain())
            await faucet.drip(b"a")
            events = Events(client)
            assert await events.payload() == b"a"
            await faucet.close()
            assert await events.next() is None
            await draining
            assert await client.is_closed()
