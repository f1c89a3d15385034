"""Handlers that yield their answer: in the server's own words, and through a router to boto3."""

import asyncio
import contextlib
import socket
import sys

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from gnomon.serving import server as server_module
from gnomon.serving.application import Application
from gnomon.serving.environment import Environment
from gnomon.serving.server import Server
from gnomon.testing.router_rig import endpoint, running_router, variant

MODEL_FN = "def model_fn(model_dir): return None\n"
WORDS = (
    MODEL_FN
    + """
def transform_fn(model, body, content_type, accept):
    return (word + " " for word in body.split()), "text/plain"
"""
)
BREAKS = (
    MODEL_FN
    + """
def transform_fn(model, body, content_type, accept):
    yield "first"
    raise ValueError("no second")
"""
)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serves the text of an inference.py; gives its port."""
    monkeypatch.setattr(server_module, "DRAIN_QUIET_S", 0.02)
    monkeypatch.setattr(sys, "path", list(sys.path))
    servers = []

    def start(text):
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "streaming_inference.py").write_text(text)
        application = Application(
            Environment(
                {"SM_MODEL_DIR": str(tmp_path), "SAGEMAKER_PROGRAM": "streaming_inference.py"}
            )
        )
        application.load()
        del sys.modules["streaming_inference"]
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(listener, application.answer)
        server.start()
        servers.append(server)
        return listener.getsockname()[1]

    yield start
    for server in servers:
        server.drain()


def ask(port, body, version="1.1"):
    """The whole answer to one request, on a connection that is then closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(
            b"POST /invocations HTTP/%b\r\nContent-Type: text/csv\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (version.encode(), len(body), body)
        )
        data = b""
        while received := connection.recv(65536):
            data += received
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def test_parts_are_chunks(serve):
    head, body = ask(serve(WORDS), b"a bc")
    assert b"Content-Type: text/plain" in head
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"2\r\na \r\n3\r\nbc \r\n0\r\n\r\n"


def test_without_parts_the_body_is_empty(serve):
    assert ask(serve(WORDS), b"")[1] == b"0\r\n\r\n"


def test_http_1_0_gets_the_parts_alone(serve):
    head, body = ask(serve(WORDS), b"a bc", version="1.0")
    assert b"Transfer-Encoding" not in head
    assert body == b"a bc "


def test_predict_fn_may_yield(serve):
    port = serve(MODEL_FN + "def predict_fn(data, model):\n    yield 'x'\n    yield b'y'\n")
    assert ask(port, b"1")[1] == b"1\r\nx\r\n1\r\ny\r\n0\r\n\r\n"


def test_output_fn_may_yield(serve):
    port = serve(
        MODEL_FN
        + "def predict_fn(data, model): return 'ab'\n"
        + "def output_fn(prediction, accept): return iter(prediction), 'text/x'\n"
    )
    head, body = ask(port, b"1")
    assert b"Content-Type: text/x" in head
    assert body == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"


@pytest.mark.parametrize("text", ["raise ValueError('early')\n    yield 'x'", "yield 3"])
def test_what_fails_before_the_first_part_is_an_error(serve, text):
    port = serve(MODEL_FN + f"def transform_fn(model, body, content_type, accept):\n    {text}\n")
    head, body = ask(port, b"1")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"early" in body or b"it must yield text or bytes" in body


def test_what_fails_later_leaves_the_body_without_end(serve, capsys):
    port = serve(BREAKS)
    head, body = ask(port, b"1")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"5\r\nfirst\r\n"
    assert "ValueError: no second" in "".join(capsys.readouterr())


def test_a_handler_is_closed_when_nobody_wants_the_rest(serve, tmp_path):
    marker = tmp_path / "closed"
    port = serve(
        MODEL_FN
        + f"""
def transform_fn(model, body, content_type, accept):
    try:
        while True:
            yield "x" * 100_000
    finally:
        open({str(marker)!r}, "w").close()
"""
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1000)

    async def closed():
        async with asyncio.timeout(30):
            while not marker.exists():
                await asyncio.sleep(0.005)

    asyncio.run(closed())


def stream(port, body):
    """What boto3 yields, and the error's code at its end if there is one."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with contextlib.closing(client):
        answer = client.invoke_endpoint_with_response_stream(
            EndpointName="demo", Body=body, ContentType="text/csv"
        )
        parts = []
        with contextlib.closing(answer["Body"]):
            try:
                parts.extend(event["PayloadPart"]["Bytes"] for event in answer["Body"])
            except EventStreamError as error:
                return parts, error.response["Error"]["Code"]
        return parts, None


async def test_boto3_reads_what_a_handler_yields(tmp_path, serve):
    port = serve(WORDS)
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", port)))
        parts, error = await asyncio.to_thread(stream, rig.port, b"to be or not")
        whole = await rig.invoke("demo", b"to be", content_type="text/csv")
    # Parts that come together may be one event.
    assert (b"".join(parts), error) == (b"to be or not ", None)
    assert whole.body == b"to be "


async def test_boto3_reads_that_a_handler_failed_behind_what_it_yielded(tmp_path, serve):
    port = serve(BREAKS)
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", port)))
        _, error = await asyncio.to_thread(stream, rig.port, b"x")
    assert error == "ModelStreamError"
