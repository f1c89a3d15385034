"""HTTP/1.1 as clients speak it: whole, in pieces, one after another, too long, wrong.

All of it with and without TLS, which nothing of it may depend on.
"""

import asyncio
import socket
from random import Random

import pytest

from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.certificates import local_tls
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant

URL = "/endpoints/demo/invocations"


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture(params=["plain", "tls"])
def tls(request, tmp_path):
    return local_tls(tmp_path) if request.param == "tls" else None


@pytest.fixture
async def rig(tmp_path, model, tls):
    settings = RouterSettings(max_body_bytes=100_000, max_head_bytes=2000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings, tls=tls) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


def blocking_client(rig):
    """A connected socket, with a bound on how long it waits."""
    client = socket.create_connection(("127.0.0.1", rig.port), timeout=10)
    return rig.tls.client().wrap_socket(client, server_hostname="127.0.0.1") if rig.tls else client


async def test_a_connection_is_kept_for_further_requests(rig, model):
    async with rig.client() as client:
        for number in range(3):
            assert (await client.ask(invocation("demo", b"%d" % number))).body == b"%d" % number
    assert model.connections == 1


async def test_pipelined_answers_keep_the_order_of_the_requests(rig):
    async with rig.client() as client:
        bodies = [b"%d" % number * (number % 7) for number in range(50)]
        await client.send(b"".join(invocation("demo", body) for body in bodies))
        assert [(await client.read()).body for _ in bodies] == bodies


async def test_errors_among_pipelined_requests_keep_the_order(rig):
    async with rig.client() as client:
        names = ["demo", "none", "demo", "none", "none", "demo"]
        await client.send(b"".join(invocation(name) for name in names))
        statuses = [(await client.read()).status for _ in names]
    assert statuses == [200, 400, 200, 400, 400, 200]


async def test_many_pipelined_errors_are_answered(rig):
    async with rig.client() as client:
        await client.send(invocation("none") * 2000)
        for _ in range(2000):
            assert (await client.read()).status == 400


@pytest.mark.parametrize("seed", range(8))
async def test_requests_may_come_in_any_pieces(rig, seed):
    random = Random(seed)
    chunked = (
        f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
    ).encode()
    data = invocation("demo", b"first") + chunked + invocation("demo", b"third")
    cuts = sorted(random.sample(range(1, len(data)), 12))
    async with rig.client() as client:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            await client.send(data[start:end])
            # The router's loop is this one: let it read the piece.
            await asyncio.sleep(0)
        assert [(await client.read()).body for _ in range(3)] == [b"first", b"abcde", b"third"]


async def test_a_trailer_does_not_reach_the_model(rig, model):
    async with rig.client() as client:
        await client.ask(
            f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\nX-Amzn-SageMaker-Inference-Id: t\r\n\r\n".encode()
        )
    assert "x-amzn-sagemaker-inference-id" not in model.requests[0].headers


async def test_a_client_that_expects_100_is_told_to_continue(rig):
    async with rig.client() as client:
        await client.send(
            f"POST {URL} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode()
        )
        assert (await client.read()).status == 100
        assert (await client.ask(b"ab")).body == b"ab"


async def test_continue_waits_for_the_answer_before_it(rig, model):
    gate = Gate()
    model.behaviour = gate
    async with rig.client() as client:
        await client.send(invocation("demo", b"first"))
        await client.send(
            f"POST {URL} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode()
        )
        await until(lambda: model.requests)
        gate.open()
        assert (await client.read()).body == b"first"
        assert (await client.read()).status == 100
        assert (await client.ask(b"ab")).body == b"ab"


@pytest.mark.parametrize(
    "data",
    [
        f"POST {URL} HTTP/1.1\r\nContent-Length: 400001\r\n\r\n".encode(),
        f"POST {URL} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n".encode(),
        f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"10000\r\n%b\r\n" % (b"x" * 65536) * 7,
    ],
)
async def test_a_body_far_over_the_limit_or_that_may_not_come_gets_413_and_the_end(
    rig, model, data
):
    async with rig.client() as client:
        answer = await client.ask(data)
        assert answer.status == 413
        assert answer.headers["x-amzn-errortype"] == "ValidationError"
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()
    assert model.requests == []


@pytest.mark.parametrize(
    "data",
    [
        invocation("demo", b"x" * 100_001),
        invocation("demo", b"x" * 400_000),
        f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"10000\r\n%b\r\n" % (b"x" * 65536) * 2
        + b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 100001\r\n\r\n" + b"x" * 100_001,
    ],
)
async def test_a_connection_goes_on_behind_a_body_over_the_limit(rig, model, data):
    async with rig.client() as client:
        await client.send(invocation("demo", b"before"))
        assert (await client.read()).body == b"before"
        answer = await client.ask(data)
        assert answer.status == 413
        assert "connection" not in answer.headers
        assert (await client.ask(invocation("demo", b"behind"))).body == b"behind"
    assert [request.body for request in model.requests] == [b"before", b"behind"]


async def test_an_answer_to_a_body_over_the_limit_outlives_the_rest_of_the_body(rig):
    def send_all_before_reading():
        with blocking_client(rig) as client:
            client.sendall(invocation("demo", b"x" * 20_000_000))
            return client.recv(1000)

    answer = await asyncio.to_thread(send_all_before_reading)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_at_the_limit_is_served(rig):
    assert len((await rig.invoke("demo", b"x" * 100_000)).body) == 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_gets_400_and_the_end(rig, data):
    async with rig.client() as client:
        answer = await client.ask(data)
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_what_follows_a_request_does_not_spoil_its_answer(rig):
    async with rig.client() as client:
        await client.send(invocation("demo", b"good") + b"nonsense\r\n\r\n")
        assert (await client.read()).body == b"good"
        assert (await client.read()).status == 400
        assert await client.is_closed()


async def test_a_head_over_the_limit_gets_431(rig):
    async with rig.client() as client:
        assert (await client.ask(invocation("demo", b"x", x="y" * 3000))).status == 431
        assert (await client.ask(invocation("demo", b"behind"))).body == b"behind"


async def test_a_head_without_end_gets_431(rig):
    async with rig.client() as client:
        await client.send(f"POST {URL} HTTP/1.1\r\n".encode() + b"X: y\r\n" * 60_000)
        assert (await client.read()).status == 431


async def test_a_large_body_before_a_head_is_not_counted_as_head(rig):
    async with rig.client() as client:
        await client.send(invocation("demo", b"x" * 90_000) + invocation("demo", b"ab")[:-1])
        assert len((await client.read()).body) == 90_000
        assert (await client.ask(b"b")).body == b"ab"


async def test_connection_close_is_obeyed(rig):
    async with rig.client() as client:
        answer = await client.ask(invocation("demo", b"a", connection="close"))
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_http_1_0_is_closed_unless_it_asks_for_more(rig):
    async with rig.client() as client:
        head = f"POST {URL} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
        assert (await client.ask(head.encode())).headers["connection"] == "keep-alive"
        await client.ask(f"POST {URL} HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode())
        assert await client.is_closed()


async def test_a_half_closed_client_gets_its_answers(rig, model):
    gate = Gate()
    model.behaviour = gate

    def ask_and_read_to_the_end():
        with blocking_client(rig) as client:
            client.sendall(invocation("demo", b"a") + invocation("demo", b"b"))
            # Of the socket, not of TLS: asyncio's and ssl's clients have no half of a farewell.
            socket.socket.shutdown(client, socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(10_000), b""))

    asking = asyncio.create_task(asyncio.to_thread(ask_and_read_to_the_end))
    await until(lambda: model.requests)
    gate.open()
    answers = await asking
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.partition(b"\r\n\r\n")[2].startswith(b"a")
    assert answers.endswith(b"\r\n\r\nb")


async def test_a_slow_reader_gets_all_of_its_answers(rig, model):
    model.behaviour = fake_upstream.answer(200, b"x" * 2_000_000)
    async with rig.client() as client:
        await client.send(invocation("demo") * 5)
        await until(lambda: model.requests)
        for _ in range(5):
            assert len((await client.read()).body) == 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", None),
        (b"POST /end", 408),
        (f"POST {URL} HTTP/1.1\r\nContent-Length: 2\r\n\r\na".encode(), 408),
    ],
)
async def test_a_client_has_so_long_to_say_something(tmp_path, data, status, tls):
    settings = RouterSettings(
        head_time_limit_s=0.1, body_time_limit_s=0.1, idle_time_limit_s=0.1, drain_idle_s=0.0
    )
    async with running_router(tmp_path, settings=settings, tls=tls) as rig, rig.client() as client:
        await client.send(data)
        if status is not None:
            assert (await client.read()).status == status
        assert await client.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"0\r\n" + b"X: y\r\n" * 200_000,
        b"0\r\nX: " + b"y" * 1_000_000,
        b"3;" + b"y" * 1_000_000,
    ],
)
async def test_trailers_and_chunk_lines_without_end_get_431(rig, model, data):
    async with rig.client() as client:
        await client.send(f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        assert (await client.ask(data)).status == 431
        assert await client.is_closed()
    assert model.requests == []


async def test_the_lines_of_many_small_chunks_are_no_head(rig):
    async with rig.client() as client:
        head = f"POST {URL} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        answer = await client.ask(head + b"1;x=y\r\na\r\n" * 90_000 + b"0\r\n\r\n")
        assert answer.body == b"a" * 90_000
