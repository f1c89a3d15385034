"""When a client's connection is given up, by a clock and a transport that the test moves."""

import asyncio

import pytest

from gnomon.router.client import ClientConnection, Clients
from gnomon.router.outbox import Outbox
from gnomon.settings import RouterSettings
from gnomon.testing.raw_http import invocation

SETTINGS = RouterSettings(idle_time_limit_s=500.0, answer_time_limit_s=75.0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"


class ScriptedTransport(asyncio.Transport):
    """Holds what is written until the test says that it went out."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.unwritten_bytes = 0
        self.is_aborted = False
        self.has_ended = False

    def write(self, data):
        assert not self.has_ended
        self.written += data
        self.unwritten_bytes += len(data)

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def write_eof(self):
        self.has_ended = True

    def get_write_buffer_size(self):
        return self.unwritten_bytes

    def is_closing(self):
        return self.is_aborted

    def close(self):
        self.is_aborted = True

    abort = close


class Answering:
    """A front that answers everything at once."""

    def __init__(self):
        self.served = 0
        self.refused = 0

    def serve(self, client, request):
        self.served += 1
        client.answer(HEAD, b"x" * 1000)

    def refuse(self, client, failure):
        self.refused += 1
        client.answer(HEAD, b"no")


class Connected:
    """A client's connection at second 0."""

    def __init__(self):
        self.now_s = 0.0
        self.front = Answering()
        self.transport = ScriptedTransport()
        self.outbox = Outbox(lambda: self.now_s)
        clients = Clients(self.front, SETTINGS, lambda: self.now_s, self.outbox)
        self.connection = ClientConnection(clients)
        self.connection.connection_made(self.transport)

    def sweep_until(self, until_s, written_a_second=0):
        """A sweep each second, as the router does; whether the connection is still there."""
        while self.now_s < until_s and not self.transport.is_aborted:
            self.now_s += 1.0
            left = self.transport.unwritten_bytes - written_a_second
            self.transport.unwritten_bytes = max(left, 0)
            self.connection.sweep(self.now_s)
        return not self.transport.is_aborted


@pytest.fixture
def connected():
    return Connected()


@pytest.mark.parametrize("headers", [{}, {"connection": "close"}])
def test_a_client_that_reads_slowly_gets_all(connected, headers):
    connected.connection.data_received(invocation("demo", **headers))
    assert connected.sweep_until(1000.0, written_a_second=1)


@pytest.mark.parametrize("headers", [{}, {"connection": "close"}])
def test_a_client_that_stops_reading_is_given_up(connected, headers):
    connected.connection.data_received(invocation("demo", **headers))
    assert connected.sweep_until(100.0, written_a_second=1)
    assert connected.sweep_until(174.0)
    assert not connected.sweep_until(177.0)


def test_a_client_that_takes_as_much_as_comes_is_kept(connected):
    connected.front.serve = lambda client, _request: client.begin(HEAD, None)
    connected.connection.data_received(invocation("demo"))
    for _ in range(200):
        # On its way there is always as much.
        connected.connection.write(b"x" * 95)
        assert connected.sweep_until(connected.now_s + 1, written_a_second=100)
        assert connected.transport.unwritten_bytes
    # Until it takes nothing, whatever still comes.
    for _ in range(80):
        connected.connection.write(b"x" * 95)
        connected.sweep_until(connected.now_s + 1)
    assert connected.transport.is_aborted


def test_lingering_begins_when_the_answer_is_written(connected):
    connected.connection.data_received(invocation("demo", connection="close"))
    assert connected.sweep_until(60.0)
    connected.transport.unwritten_bytes = 0
    assert connected.sweep_until(65.0)
    assert not connected.sweep_until(68.0)


@pytest.mark.parametrize(
    "data",
    [
        invocation("demo", connection="close") + b"GET / HTTP/1.1\r\n\r\n",
        invocation("demo", b"{}").replace(b"HTTP/1.1", b"HTTP/1.0") + b"nonsense\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_nothing_is_answered_behind_the_answer_that_ends_a_connection(connected, data):
    connected.connection.data_received(data)
    assert connected.transport.has_ended
    assert (connected.front.served, connected.front.refused) == (1, 0)


@pytest.mark.parametrize("others", [0, 10])
async def test_an_answer_is_written_before_a_client_that_left_half_is_let_go(connected, others):
    connected.outbox.open += others
    connected.connection.data_received(invocation("demo"))
    # In the round in which it is answered. The transport closes itself then.
    assert not connected.connection.eof_received()
    assert connected.transport.written.endswith(b"x" * 1000)


def test_nothing_is_answered_behind_a_request_that_broke_the_router(connected):
    front = connected.front
    served = front.serve
    front.serve = lambda client, request: 1 / 0
    connected.connection.data_received(invocation("demo"))
    assert b"Connection: close\r\n" in connected.transport.written
    front.serve = served
    connected.connection.data_received(invocation("demo"))
    assert (front.served, front.refused) == (0, 1)
