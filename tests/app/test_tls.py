"""TLS in front of the router's protocol: what the tests of the client's side do not show of it.

Those run with and without TLS (`tests/router/test_client.py`).
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from random import Random

import pytest

from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.certificates import local_tls
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
def tls(tmp_path):
    return local_tls(tmp_path)


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model, tls):
    async with running_router(
        tmp_path, settings=RouterSettings(drain_idle_s=0.0), tls=tls
    ) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


class Relay:
    """Between a client's TLS and a socket to the router, so that the test decides on the pieces."""

    def __init__(self, tls, port):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.client().wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost"
        )
        self._raw = RawClient(port)

    async def __aenter__(self):
        await self._raw.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._raw.__aexit__(*error)

    async def shake_hands(self, pieces=1):
        await self._repeat(self._tls.do_handshake, pieces)

    async def send(self, data, pieces=1):
        self._tls.write(data)
        await self._flush(pieces)

    async def read(self):
        return await self._repeat(lambda: self._tls.read(1 << 20))

    async def say_farewell(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()

    async def rest(self):
        """All that the router says until it ends the connection."""
        answers = b""
        while data := await self.read():
            answers += data
        return answers

    async def _repeat(self, act, pieces=1):
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                await self._flush(pieces)
                came = await self._raw.reader.read(1 << 16)
                self._incoming.write(came) if came else self._incoming.write_eof()
            finally:
                await self._flush(pieces)

    async def _flush(self, pieces=1):
        data = self._outgoing.read()
        size = -(-len(data) // pieces) or 1
        for start in range(0, len(data), size):
            await self._raw.send(data[start : start + size])
            # The router's loop is this one: let it read the piece.
            await asyncio.sleep(0)


async def test_records_may_come_in_any_pieces(rig, tls):
    async with Relay(tls, rig.port) as client:
        await client.shake_hands(pieces=50)
        await client.send(invocation("demo", b"in pieces", connection="close"), pieces=60)
        assert (await client.rest()).endswith(b"\r\n\r\nin pieces")


async def test_a_farewell_behind_a_request_does_not_end_its_answer(rig, tls, model):
    gate = fake_upstream.Gate()
    model.behaviour = gate
    async with Relay(tls, rig.port) as client:
        await client.shake_hands()
        await client.send(invocation("demo", b"answered"))
        await client.say_farewell()
        await until(lambda: model.requests)
        gate.open()
        # OpenSSL gives nothing to one that has ended; the bytes are there.
        assert len(await client._raw.reader.read()) > len(b"answered")


async def test_bodies_of_many_records_come_and_go_whole(rig, tls):
    body = Random(0).randbytes(3_000_000)
    async with rig.client() as client:
        for _ in range(2):
            assert (await client.ask(invocation("demo", body))).body == body


async def test_plain_http_is_told_what_to_do_and_hurts_nobody(rig):
    async with RawClient(rig.port) as plain, rig.client() as good:
        answer = await plain.ask(invocation("demo", b"x"))
        assert answer.status == 400
        assert b"https://" in answer.body
        assert await plain.is_closed()
        assert (await good.ask(invocation("demo", b"x"))).status == 200
    assert rig.router._clients.open == set()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x00" * 100, b"SSH-2.0-x\r\n"])
async def test_what_is_no_tls_ends_its_connection_alone(rig, garbage):
    async with RawClient(rig.port) as client:
        await client.send(garbage)
        # At most an alert.
        assert len(await client.reader.read(100)) < 10
        assert await client.is_closed()
    assert (await rig.invoke("demo", b"x")).status == 200
    assert rig.router._clients.open == set()


async def test_a_record_that_was_changed_on_its_way_ends_the_connection(rig, tls, model):
    async with Relay(tls, rig.port) as client:
        await client.shake_hands()
        client._tls.write(invocation("demo", b"x"))
        record = bytearray(client._outgoing.read())
        record[-1] ^= 1
        await client._raw.send(bytes(record))
        await until(lambda: not rig.router._clients.open)
    assert model.requests == []


async def test_a_client_that_trusts_another_authority_refuses(rig, tmp_path):
    stranger = local_tls(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        async with RawClient(rig.port, stranger.client()):
            pass
    assert (await rig.invoke("demo", b"x")).status == 200


async def test_a_client_of_the_oldest_version_that_is_taken_is_served(rig, tls):
    context = tls.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with RawClient(rig.port, context) as client:
        assert (await client.ask(invocation("demo", b"x"))).status == 200
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"


@pytest.mark.slow
async def test_one_that_never_shakes_hands_is_given_up(tmp_path, tls):
    settings = RouterSettings(idle_time_limit_s=0.1, drain_idle_s=0.0)
    async with (
        running_router(tmp_path, settings=settings, tls=tls) as rig,
        RawClient(rig.port) as client,
    ):
        await client.send(b"\x16\x03\x01")
        assert await client.is_closed()


async def test_a_slow_reader_is_seen_to_be_one(rig, tls, model):
    model.behaviour = fake_upstream.answer(200, b"x" * 20_000_000)

    def read_slowly():
        with (
            socket.create_connection(("127.0.0.1", rig.port), timeout=10) as raw,
            tls.client().wrap_socket(raw, server_hostname="localhost") as client,
        ):
            client.sendall(invocation("demo", b"x", connection="close"))
            reading.wait()
            return sum(iter(lambda: len(client.recv(1 << 20)), 0))

    reading = threading.Event()
    asking = asyncio.create_task(asyncio.to_thread(read_slowly))
    try:
        await until(lambda: rig.router._clients.open)
        (connection,) = rig.router._clients.open
        # What is left of the answer is known, which a router's time limits go by.
        await until(lambda: connection._transport.get_write_buffer_size() > 10_000_000)
    finally:
        reading.set()
    assert await asking > 20_000_000


async def test_a_draining_router_finishes_a_handshake_that_is_under_way(tmp_path, tls, model):
    settings = RouterSettings(drain_idle_s=5.0)
    async with running_router(tmp_path, settings=settings, tls=tls) as rig:
        await rig.apply(endpoint("demo", variant("AllTraffic", model.port)))
        async with Relay(tls, rig.port) as client:
            with contextlib.suppress(ssl.SSLWantReadError):
                client._tls.do_handshake()
            hello = client._outgoing.read()
            await client._raw.send(hello[:10])
            await until(lambda: rig.router._clients.open)
            drained = asyncio.create_task(rig.router.drain())
            await asyncio.sleep(0)
            await client._raw.send(hello[10:])
            await client.shake_hands()
            await client.send(invocation("demo", b"late"))
            answers = await client.rest()
            assert b"Connection: close\r\n" in answers
            assert answers.endswith(b"\r\n\r\nlate")
        await drained
