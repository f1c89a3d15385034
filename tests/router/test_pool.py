import asyncio
import contextlib
import socket
import time
from dataclasses import replace

import pytest

from gnomon.app.machine import SystemClock
from gnomon.router.call import Call
from gnomon.router.outbox import Outbox
from gnomon.router.pool import Pool, PoolLimits

LIMITS = PoolLimits(
    max_connections=4,
    max_idle_s=60.0,
    connect_time_limit_s=5.0,
    time_limit_s=5.0,
    max_head_bytes=65536,
)
REQUEST = b"POST /invocations HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def connected():
    """A pool with a free connection, whose server end is given too, and an outbox that waits."""
    clock = SystemClock()
    outbox = Outbox(clock.monotonic_s)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        pool = Pool(("127.0.0.1", server.getsockname()[1]), 60.0, LIMITS, clock, outbox)
        first = Asked(clock)
        pool.submit(first)
        connection = await accept_and_answer(server)
        assert await first.end == 200
        # Nobody else ends this round.
        outbox._is_due = True
        yield clock, pool, outbox, server, connection
        connection.close()
        pool.abort()


class Asked(Call):
    def __init__(self, clock):
        super().__init__(REQUEST, b"", clock.monotonic_s())
        self.end = asyncio.get_running_loop().create_future()
        self.times_sent = 0

    def sent(self):
        self.times_sent += 1

    def takes(self, body_bytes, /):
        return True

    def answered(self, answer, at_s, /):
        self.end.set_result(answer.status)

    def failed(self, failure, at_s, /):
        self.end.set_result(failure)


async def accept_and_answer(server):
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(server)
    connection.setblocking(False)
    await loop.sock_recv(connection, 65536)
    await loop.sock_sendall(connection, ANSWER)
    return connection


async def test_a_server_that_dies_right_after_its_answer_gets_nothing_more():
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        pool = Pool(
            ("127.0.0.1", server.getsockname()[1]), 60.0, LIMITS, clock, Outbox(clock.monotonic_s)
        )
        first = Asked(clock)
        pool.submit(first)
        connection = await accept_and_answer(server)
        assert await first.end == 200
        # Between these two the loop has no round in which it could hear of the end.
        connection.close()
        second = Asked(clock)
        pool.submit(second)
        connection = await accept_and_answer(server)
        assert await second.end == 200
        connection.close()
        pool.abort()


@pytest.mark.parametrize("rounds", range(4))
async def test_a_connection_is_not_too_late_because_this_process_was_held_up(rounds):
    clock = SystemClock()
    limits = replace(LIMITS, connect_time_limit_s=0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        pool = Pool(
            ("127.0.0.1", server.getsockname()[1]), 60.0, limits, clock, Outbox(clock.monotonic_s)
        )
        asked = Asked(clock)
        pool.submit(asked)
        # How far connecting has come by then.
        for _ in range(rounds):
            await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251
        connection = await accept_and_answer(server)
        assert await asked.end == 200
        connection.close()


async def test_a_connect_that_nobody_accepts_ends_at_its_time_limit():
    clock = SystemClock()
    limits = replace(LIMITS, connect_time_limit_s=0.1)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        contextlib.ExitStack() as stack,
    ):
        # A full backlog: what comes now waits for its handshake.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        pool = Pool(
            ("127.0.0.1", server.getsockname()[1]), 60.0, limits, clock, Outbox(clock.monotonic_s)
        )
        asked = Asked(clock)
        pool.submit(asked)
        assert await asked.end == "connect_deadline"
        assert pool.is_at_rest


async def test_a_request_that_waits_for_the_end_of_the_round_was_not_sent():
    async with connected() as (clock, pool, outbox, _, connection):
        asked = Asked(clock)
        pool.submit(asked)
        submitted_s = asked.sent_s
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        await asyncio.sleep(0.01)
        outbox.flush()
        assert await asyncio.get_running_loop().sock_recv(connection, 65536) == REQUEST
        # Its latency begins when it was written.
        assert asked.sent_s >= submitted_s + 0.01


async def served_by_another(outbox, server, asked):
    """The end of a request that goes over a new connection, which is served."""
    other, _ = await asyncio.get_running_loop().sock_accept(server)
    with other:
        other.setblocking(False)
        while not asked.end.done():
            outbox.flush()
            with contextlib.suppress(BlockingIOError):
                if other.recv(65536):
                    other.send(ANSWER)
            await asyncio.sleep(0.001)
    return await asked.end


async def test_a_server_that_leaves_before_a_request_was_written_loses_none():
    async with connected() as (clock, pool, outbox, server, connection):
        asked = Asked(clock)
        pool.submit(asked)
        connection.close()
        assert await served_by_another(outbox, server, asked) == 200
        assert asked.times_sent == 1


async def test_a_request_goes_elsewhere_where_the_server_speaks_before_it_is_asked():
    async with connected() as (clock, pool, outbox, server, connection):
        asked = Asked(clock)
        pool.submit(asked)
        connection.send(b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
        assert await served_by_another(outbox, server, asked) == 200
        # It was handed over once, as far as its maker is told.
        assert asked.times_sent == 1


@pytest.mark.parametrize("says", [b"220 hello\r\n", b""])
@pytest.mark.parametrize("rounds", [0, 3])
async def test_a_server_that_serves_nobody_is_not_tried_without_end(says, rounds):
    clock = SystemClock()
    outbox = Outbox(clock.monotonic_s)
    outbox._is_due = True
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        pool = Pool(("127.0.0.1", server.getsockname()[1]), 60.0, LIMITS, clock, outbox)
        asked = Asked(clock)
        pool.submit(asked)
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        # Before the pool has the connection, or behind.
        for _ in range(rounds):
            await asyncio.sleep(0)
        with connection:
            connection.send(says)
            if not says:
                connection.close()
            assert await asked.end == "refused"
