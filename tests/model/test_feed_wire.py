import asyncio

import pytest

from gnomon.model.feed_wire import MAX_MESSAGE_BYTES, FeedBroken, encode, read_message
from gnomon.model.snapshot import Endpoint, Incarnation, Removed, Report, Update

REPORT = Report(Incarnation("i", 1, 2, 3.5, "boot"), 9, ("a", "b"))
UPDATE = Update(10, (Endpoint("e", "demo", 10, ()),), (Removed("f", 9),))


def reader(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


async def test_messages_come_out_as_they_went_in():
    stream = reader(encode(REPORT) + encode(REPORT))
    assert await read_message(stream, Report) == REPORT
    assert await read_message(stream, Report) == REPORT
    assert await read_message(stream, Report) is None
    assert await read_message(reader(encode(UPDATE)), Update) == UPDATE


@pytest.mark.parametrize("length", [1, 3, 4, 5, len(encode(REPORT)) - 1])
async def test_a_message_that_ends_early_is_broken(length):
    with pytest.raises(FeedBroken, match="ended within"):
        await read_message(reader(encode(REPORT)[:length]), Report)


async def test_a_length_over_the_bound_is_broken():
    data = (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(FeedBroken, match="over the bound"):
        await read_message(reader(data), Report)


async def test_another_kind_of_message_is_broken():
    with pytest.raises(FeedBroken, match="no Report"):
        await read_message(reader(encode(UPDATE)), Report)
