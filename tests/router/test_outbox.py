import asyncio
import time

import pytest

from gnomon.router.outbox import Outbox
from gnomon.testing.router_rig import until


class Written(asyncio.Transport):
    """Notes what is written, on whichever of a test's transports, in one list."""

    def __init__(self, name, notes):
        super().__init__()
        self.name = name
        self.notes = notes
        self.is_gone = False
        self.is_broken = False

    def is_closing(self):
        return self.is_gone

    def write(self, data):
        if self.is_broken:
            raise RuntimeError("broken")
        self.notes.append((self.name, data))

    def writelines(self, parts):
        self.write(b"".join(parts))


class Noting:
    is_waiting = False
    sent_s = None

    def sent(self, at_s):
        self.is_waiting = False
        self.sent_s = at_s


@pytest.fixture
def notes():
    return []


@pytest.fixture
def client(notes):
    return Written("client", notes)


@pytest.fixture
def shadow(notes):
    return Written("shadow", notes)


@pytest.fixture
def outbox():
    return Outbox(lambda: 7.0)


async def test_where_few_requests_are_open_nothing_waits(outbox, client, shadow, notes):
    outbox.open = 3
    outbox.write(client, b"answer")
    outbox.write_message(shadow, b"head", b"body")
    assert notes == [("client", b"answer"), ("shadow", b"headbody")]


async def test_where_several_are_open_all_is_written_at_the_end_of_the_round(
    outbox, client, shadow, notes
):
    outbox.open = 4
    outbox.write(client, b"1")
    outbox.write_message(shadow, b"head", b"body")
    # What began to wait is not overtaken.
    outbox.open = 0
    outbox.write(client, b"2")
    assert notes == []
    await asyncio.sleep(0)
    assert notes == [("client", b"1"), ("shadow", b"headbody"), ("client", b"2")]


async def test_the_next_round_ends_too(outbox, client, notes):
    outbox.open = 4
    for data in (b"1", b"2"):
        outbox.write(client, data)
        await asyncio.sleep(0)
    assert notes == [("client", b"1"), ("client", b"2")]


@pytest.mark.parametrize("body", [b"body", b"x" * 100_000])
async def test_copies_are_written_a_moment_later_and_after_all_else(
    outbox, client, shadow, notes, body
):
    for number in range(2):
        outbox.write_copy(shadow, b"head", body, Noting())
        outbox.open = 4
        outbox.write(client, b"answer")
        # Nobody ends the round before the copy's time.
        time.sleep(0.002)  # noqa: ASYNC251
        assert len(notes) == 2 * number
        await until(lambda: len(notes) == 2 * number + 2)  # noqa: B023
        assert notes[-2:] == [("client", b"answer"), ("shadow", b"head" + body)]


@pytest.mark.parametrize("kind", ["copy", "message"])
async def test_a_sender_is_told_when_its_data_is_written(outbox, client, kind):
    sender = Noting()
    outbox.open = 4
    write = outbox.write_copy if kind == "copy" else outbox.write_message
    write(client, b"1", b"", sender)
    assert sender.is_waiting
    assert sender.sent_s is None
    outbox.flush_all()
    assert not sender.is_waiting
    assert sender.sent_s == 7.0


@pytest.mark.parametrize("body", [b"x" * 100_000, b"x" * 16_384])
async def test_what_is_long_does_not_wait_and_overtakes_nothing(outbox, client, notes, body):
    outbox.open = 4
    outbox.write(client, b"1")
    outbox.write_message(client, b"head", body)
    assert notes == [("client", b"1"), ("client", b"head" + body)]


async def test_few_messages_wait_at_most(outbox, client, notes):
    outbox.open = 4
    for _ in range(100):
        outbox.write(client, b"x")
    assert 36 <= len(notes) < 100


async def test_a_write_that_fails_keeps_no_other_from_being_written(outbox, client, shadow, notes):
    outbox.open = 4
    for transport in (client, shadow, client):
        outbox.write(transport, b"x")
    shadow.is_broken = True
    await asyncio.sleep(0)
    assert notes == [("client", b"x"), ("client", b"x")]


async def test_nothing_is_written_where_nobody_is_left(outbox, client, shadow, notes):
    sender = Noting()
    outbox.open = 4
    outbox.write(client, b"x", sender)
    outbox.write(shadow, b"x")
    client.is_gone = True
    await asyncio.sleep(0)
    assert notes == [("shadow", b"x")]
    assert sender.sent_s is None
