import contextlib
import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.serving import wire
from gnomon.serving.wire import MalformedRequest, RequestReader, Response


class FakeConnection:
    """Gives what it was made with, piece by piece, and keeps what is sent."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.sent = b""

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags == socket.MSG_PEEK:
            return self._pieces[0][:size] if self._pieces else b""
        return self._pieces.pop(0) if self._pieces else b""

    def sendall(self, data: bytes) -> None:
        self.sent += data


def read_all(*pieces: bytes):
    reader = RequestReader(FakeConnection(*pieces))
    requests = []
    while reader.wait():
        requests.append(reader.read())
    return requests


def read(text: str):
    (request,) = read_all(text.encode("latin-1"))
    return request


def test_a_request_with_a_body():
    request = read(
        "POST /invocations?a=b HTTP/1.1\r\nHost: x\r\nContent-Type:  text/csv \r\n"
        "Content-Length: 3\r\n\r\n1,2"
    )

    assert (request.method, request.path, request.body) == ("POST", "/invocations", b"1,2")
    assert request.headers["content-type"] == "text/csv"
    assert request.keep_alive


def test_a_request_without_a_body():
    assert read("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").body == b""


def test_repeated_headers_are_joined():
    assert read("GET / HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n").headers == {"a": "1, 2"}


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
    ],
)
def test_keep_alive(version, connection, keep_alive):
    header = f"Connection: {connection}\r\n" if connection else ""

    assert read(f"GET / HTTP/{version}\r\n{header}\r\n").keep_alive is keep_alive


def test_a_chunked_body():
    request = read(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    )

    assert request.body == b"abc0123456789"


def test_requests_that_come_at_once():
    one = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n"

    assert [request.body for request in read_all(one + b"a" + one + b"b")] == [b"a", b"b"]


def test_an_empty_line_before_a_request_is_ignored():
    assert read("\r\nGET /ping HTTP/1.1\r\n\r\n").path == "/ping"


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_it_does_not_matter_how_bytes_arrive(cuts):
    whole = (
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(bounds) if a != b]

    requests = read_all(*pieces)

    assert [(request.path, request.body) for request in requests] == [
        ("/a", b"hello"),
        ("/b", b"hello"),
    ]


def test_a_client_that_waits_is_told_to_go_on():
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    connection = FakeConnection(head, b"x")
    reader = RequestReader(connection)
    reader.wait()

    assert reader.read().body == b"x"
    assert connection.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


CHUNKED = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "no request line": ("nonsense\r\n\r\n", 400),
    "two words": ("GET /\r\n\r\n", 400),
    "four words": ("GET / x HTTP/1.1\r\n\r\n", 400),
    "a method that is no word": ("G(T / HTTP/1.1\r\n\r\n", 400),
    "another version": ("GET / HTTP/2.0\r\n\r\n", 400),
    "no colon": ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    "a space before the colon": ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "a folded header": ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "a length that is no number": ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
    "a negative length": ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "a length with a sign": ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
    "a length in other digits": ("POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nxx", 400),
    "two lengths": ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "length and chunks": (
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "another coding": ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "too long a body": ("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
    "too long a chunk": (CHUNKED + "FFFFFFFFFFFF\r\n", 413),
    "a chunk without a size": (CHUNKED + "\r\n", 400),
    "a chunk's size with a sign": (CHUNKED + "+3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk longer than it says": (CHUNKED + "1\r\nabc\r\n0\r\n\r\n", 400),
    "a body that is cut": ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", 400),
    "a head that is cut": ("GET / HTTP/1.1\r\nHost:", 400),
    "too long a head": ("GET / HTTP/1.1\r\nA: " + "x" * (wire.MAX_HEAD_BYTES + 10), 431),
    "too long a trailer": (CHUNKED + "0\r\n" + "A: b\r\n" * 20_000, 431),
    "too long a chunk's line": (CHUNKED + "1;" + "x" * (wire.MAX_HEAD_BYTES + 10), 400),
}


@pytest.mark.parametrize(("text", "status"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_refused(text, status):
    with pytest.raises(MalformedRequest) as caught:
        read(text)

    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_requests_or_malformed(data):
    with contextlib.suppress(MalformedRequest):
        read_all(data)


def test_a_response_is_one_piece():
    response = Response(200, b"body", "text/plain", {"A": "b"})

    assert response.encode(keep_alive=True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nA: b\r\n\r\nbody"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_has_no_body_by_its_status_ends_with_its_head(status):
    encoded = Response(status, b"body").encode(keep_alive=True)

    assert b"Content-Length" not in encoded
    assert encoded.endswith(b"\r\n\r\n")


def test_a_response_can_close():
    assert b"\r\nConnection: close\r\n" in Response(200).encode(keep_alive=False)


def test_a_real_connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        reader = RequestReader(ours)

        assert reader.wait()
        assert reader.read().path == "/ping"
        theirs.shutdown(socket.SHUT_WR)
        assert not reader.wait()
