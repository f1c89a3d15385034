import asyncio

import pytest

from gnomon.router.outbox import Outbox


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
    outbox.last.write(shadow, b"copy")
    outbox.first.write(client, b"answer")
    assert notes == [("shadow", b"copy"), ("client", b"answer")]


async def test_where_several_are_open_copies_are_written_after_all_else(
    outbox, client, shadow, notes
):
    outbox.open = 4
    outbox.first.write(client, b"1")
    outbox.last.write(shadow, b"copy")
    # What began to wait is not overtaken.
    outbox.open = 0
    outbox.first.write(client, b"2")
    assert notes == []
    await asyncio.sleep(0)
    assert notes == [("client", b"1"), ("client", b"2"), ("shadow", b"copy")]


async def test_the_next_round_ends_too(outbox, client, notes):
    outbox.open = 4
    for data in (b"1", b"2"):
        outbox.first.write(client, data)
        await asyncio.sleep(0)
    assert notes == [("client", b"1"), ("client", b"2")]


async def test_a_sender_is_told_when_its_data_is_written(outbox, client):
    sender = Noting()
    outbox.open = 4
    outbox.first.write(client, b"1", sender)
    assert sender.is_waiting
    assert sender.sent_s is None
    await asyncio.sleep(0)
    assert not sender.is_waiting
    assert sender.sent_s == 7.0


@pytest.mark.parametrize("body", [b"x" * 100_000, b"x" * 16_384])
async def test_what_is_long_does_not_wait_and_overtakes_nothing(
    outbox, client, shadow, notes, body
):
    outbox.open = 4
    outbox.first.write(client, b"1")
    outbox.last.write(shadow, b"2")
    outbox.last.write_message(shadow, b"head", body)
    assert notes == [("client", b"1"), ("shadow", b"2"), ("shadow", b"head" + body)]


async def test_few_messages_wait_at_most(outbox, client, notes):
    outbox.open = 4
    for _ in range(100):
        outbox.first.write(client, b"x")
    assert 36 <= len(notes) < 100


async def test_a_write_that_fails_keeps_no_other_from_being_written(outbox, client, shadow, notes):
    outbox.open = 4
    for transport in (client, shadow, client):
        outbox.first.write(transport, b"x")
    shadow.is_broken = True
    await asyncio.sleep(0)
    assert notes == [("client", b"x"), ("client", b"x")]


async def test_nothing_is_written_where_nobody_is_left(outbox, client, shadow, notes):
    sender = Noting()
    outbox.open = 4
    outbox.first.write(client, b"x", sender)
    outbox.first.write(shadow, b"x")
    client.is_gone = True
    await asyncio.sleep(0)
    assert notes == [("shadow", b"x")]
    assert sender.sent_s is None
