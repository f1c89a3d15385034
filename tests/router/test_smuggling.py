"""What other readers might cut elsewhere: refused, or the same for everybody from here on."""

import pytest

from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, variant

HEAD = b"POST /endpoints/demo/invocations HTTP/1.1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# What stands behind a request that is cut in the wrong place would be served as the next.
SMUGGLED = invocation("demo", b"smuggled")


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model):
    async with running_router(tmp_path) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


@pytest.mark.parametrize(
    ("data", "status"),
    [
        # Conflicting and doubtful lengths.
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 2, 2\r\n\r\nab", 400),
        (HEAD + b"Content-Length: +2\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 0x2\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 1 2\r\n\r\nab", 400),
        (HEAD + b"Content-Length:\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 18446744073709551618\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        # Codings.
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n", 501),
        # Folded lines, and lines that end otherwise.
        (HEAD + b"A: b\r\n Content-Length: 2\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b" A: b\r\n\r\n", 400),
        (HEAD + b"A: b\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"A: b\rContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"A: b\r\n\rContent-Length: 2\r\n\r\n", 400),
        (HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n", 400),
        (HEAD + b"A: b\0\r\n\r\n", 400),
        (HEAD + b"A\x01: b\r\n\r\n", 400),
        (HEAD + b": b\r\n\r\n", 400),
        (HEAD + b"A\r\n\r\n", 400),
        # Chunks.
        (CHUNKED + b"2;\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b"2;a\rb\r\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b'2;a="\r\n"\r\nab\r\n0\r\n\r\n', 400),
        (CHUNKED + b"2\nab\n0\n\n", 400),
        (CHUNKED + b"2\r\nab\n0\r\n\r\n", 400),
        (CHUNKED + b"2 \r\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b"-2\r\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b"10000000000000002\r\nab\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
        # Request lines.
        (b"POST /endpoints/demo/invocations HTTP/2.0\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"POST /a b HTTP/1.1\r\n\r\n", 400),
        (b"POST /a\x01b HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused_with_all_behind_it(rig, model, data, status):
    async with rig.client() as client:
        answer = await client.ask(data + SMUGGLED)
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()
    assert model.requests == []


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (CHUNKED + b"2;a=b;c\r\nab\r\n0;d\r\n\r\n", b"ab"),
        (CHUNKED + b"0000000000000002\r\nab\r\n00\r\n\r\n", b"ab"),
        (CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\nA: b\r\nHost: c\r\n\r\n", b"ab"),
        (HEAD + b"Transfer-Encoding:\tChunked \r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab"),
        (b"\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab", b"ab"),
        (HEAD + b"Content-Length: 02\r\n\r\nab", b"ab"),
        (HEAD + b"Host: a\r\nHost: b\r\nContent-Length: 2\r\n\r\nab", b"ab"),
    ],
)
async def test_what_is_unusual_reaches_the_model_in_the_usual_form(rig, model, data, body):
    async with rig.client() as client:
        assert (await client.ask(data)).body == body
        assert (await client.ask(invocation("demo", b"next"))).body == b"next"
    request = model.requests[0]
    assert request.headers == {
        "host": f"127.0.0.1:{model.port}",
        "content-length": "2",
        "x-gnomon-event-id": request.headers["x-gnomon-event-id"],
    }


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "X-Amzn-SageMaker-Inference-Id", "X-Amzn-SageMaker-Target-Variant"],
)
async def test_a_header_with_two_values_is_refused_and_the_connection_kept(rig, model, name):
    line = f"{name}: a\r\n{name.lower()}: b\r\n".encode()
    async with rig.client() as client:
        answer = await client.ask(HEAD + line + b"Content-Length: 2\r\n\r\nab")
        assert answer.status == 400
        assert f"The header {name} is given more than once.".encode() in answer.body
        assert (await client.ask(invocation("demo", b"next"))).body == b"next"
    assert len(model.requests) == 1


async def test_control_gets_no_request_with_two_hosts(rig):
    async with rig.client() as client:
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert answer.status == 400
