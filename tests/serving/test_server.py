"""The server with real sockets, in this process."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gnomon.serving import server as server_module
from gnomon.serving.server import Server
from gnomon.serving.wire import Response

REQUEST = b"POST /invocations HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def serve():
    """Starts servers with an answer function; they end with the test."""
    servers = []

    def start(answer=lambda request: Response(200, request.body)):
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(listener, answer)
        server.start()
        servers.append(server)
        return server, listener.getsockname()

    yield start
    for server in servers:
        server.drain()


@pytest.fixture(autouse=True)
def _no_quiet_time(monkeypatch):
    # What a drain waits for after the last answer: nothing else comes in these tests.
    monkeypatch.setattr(server_module, "DRAIN_QUIET_S", 0.02)


def connect(address) -> socket.socket:
    connection = socket.create_connection(address)
    connection.settimeout(20)
    return connection


def read_answer(connection: socket.socket) -> bytes:
    """One answer with a body of 5 bytes."""
    data = b""
    while not (b"\r\n\r\n" in data and len(data.partition(b"\r\n\r\n")[2]) >= 5):
        received = connection.recv(65536)
        assert received, "the connection ended early"
        data += received
    return data


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    while received := connection.recv(65536):
        data += received
    return data


def test_a_connection_is_used_again(serve):
    _, address = serve()
    with connect(address) as connection:
        for _ in range(3):
            connection.sendall(REQUEST)
            assert read_answer(connection).endswith(b"hello")


def test_a_connection_is_closed_on_wish(serve):
    _, address = serve()
    with connect(address) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n")

        assert b"Connection: close" in read_to_end(connection)


def test_a_malformed_request_gets_400_and_the_end(serve):
    _, address = serve()
    with connect(address) as connection:
        connection.sendall(b"nonsense\r\n\r\n" + b"x" * 100_000)

        answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in answer


def test_requests_are_answered_side_by_side(serve):
    together = threading.Barrier(8)

    def answer(request):
        together.wait(20)
        return Response(200, request.body)

    _, address = serve(answer)

    def ask(_):
        with connect(address) as connection:
            connection.sendall(REQUEST)
            return read_answer(connection)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(ask, range(8)))) == 8


def test_connections_over_the_bound_wait(serve, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    _, address = serve()
    first = connect(address)
    first.sendall(REQUEST)
    read_answer(first)
    with connect(address) as second:
        second.sendall(REQUEST)
        second.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.recv(1)
        second.settimeout(20)

        first.close()

        assert read_answer(second).endswith(b"hello")


def test_requests_over_the_bound_wait_and_pings_do_not(serve, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_AT_WORK", 1)
    arrived, go_on = threading.Event(), threading.Event()

    def answer(request):
        if request.path == "/invocations":
            arrived.set()
            assert go_on.wait(20)
        return Response(200, request.body or b"alive")

    _, address = serve(answer)
    with connect(address) as first, connect(address) as second, connect(address) as third:
        first.sendall(REQUEST)
        assert arrived.wait(20)
        arrived.clear()
        second.sendall(REQUEST)
        third.sendall(b"GET /ping HTTP/1.1\r\n\r\n")

        assert read_answer(third).endswith(b"alive")
        assert not arrived.wait(0.05)
        go_on.set()

        assert read_answer(first).endswith(b"hello")
        assert read_answer(second).endswith(b"hello")


def test_a_malformed_body_frees_its_slot(serve, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_AT_WORK", 1)
    _, address = serve()
    with connect(address) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")

    with connect(address) as connection:
        connection.sendall(REQUEST)
        assert read_answer(connection).endswith(b"hello")


def test_a_client_that_resets_harms_nobody(serve):
    _, address = serve()
    gone = connect(address)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    gone.sendall(REQUEST[:-2])
    gone.close()

    with connect(address) as connection:
        connection.sendall(REQUEST)
        assert read_answer(connection).endswith(b"hello")


def test_a_drain_answers_what_is_under_way(serve):
    arrived, go_on = threading.Event(), threading.Event()

    def answer(request):
        arrived.set()
        assert go_on.wait(20)
        return Response(200, request.body)

    server, address = serve(answer)
    with connect(address) as connection:
        connection.sendall(REQUEST)
        assert arrived.wait(20)
        drain = threading.Thread(target=server.drain)
        drain.start()
        while not server._is_draining:
            pass
        go_on.set()

        reply = read_to_end(connection)

    drain.join(20)
    assert not drain.is_alive()
    assert reply.endswith(b"hello")
    assert b"Connection: close" in reply


def test_a_drain_answers_what_waits_to_be_accepted(serve):
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(listener, lambda request: Response(200, request.body))
    with connect(listener.getsockname()) as connection:
        connection.sendall(REQUEST)
        server.start()
        server.drain()

        assert read_answer(connection).endswith(b"hello")


def test_after_a_drain_connections_are_refused(serve):
    server, address = serve()

    server.drain()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_an_idle_connection_does_not_hold_a_drain_up(serve):
    server, address = serve()
    with connect(address) as connection:
        connection.sendall(REQUEST)
        read_answer(connection)
        drain = threading.Thread(target=server.drain)
        drain.start()
        drain.join(5)

        assert not drain.is_alive()
