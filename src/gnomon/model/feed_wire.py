"""How control and routers write a `Report` or an `Update` on the feed's stream.

Both sides use this module: `gnomon.router.feed` and control's feed. Each message is its length
(unsigned, 32 bits, big endian), then MessagePack. Who speaks when is the business of the two sides.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TypeVar

import msgspec

from gnomon.errors import GnomonError
from gnomon.model.snapshot import Report, Update

# An endpoint takes about 1 KiB, so this is tens of thousands of endpoints; a longer length means
# that the stream is out of step, and must not make the reader hold it.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()

Message = TypeVar("Message", Report, Update)


class FeedBroken(GnomonError):
    """The other side of the feed sent what is not a message; the stream is of no further use."""


def encode(message: Report | Update) -> bytes:
    """The message with its length before it. Raises FeedBroken if it is over the bound."""
    payload = _encoder.encode(message)
    _check(len(payload))
    return _LENGTH.pack(len(payload)) + payload


async def read_message(reader: asyncio.StreamReader, type_: type[Message]) -> Message | None:
    """The next message, or None where the stream ended between two messages.

    Raises FeedBroken for a stream that ended within a message, a length over the bound, or bytes
    that are no message of this type.
    """
    try:
        head = await reader.readexactly(_LENGTH.size)
        (length,) = _LENGTH.unpack(head)
        _check(length)
        payload = await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if not error.partial and error.expected == _LENGTH.size:
            return None
        raise FeedBroken("The feed ended within a message.") from error
    try:
        return msgspec.msgpack.decode(payload, type=type_)
    except msgspec.MsgspecError as error:
        raise FeedBroken(f"The feed sent no {type_.__name__}: {error}") from error


def _check(length: int) -> None:
    if length > MAX_MESSAGE_BYTES:
        raise FeedBroken(
            f"A message of {length} bytes on the feed is over the bound of {MAX_MESSAGE_BYTES}."
        )
