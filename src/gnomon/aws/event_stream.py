"""InvokeEndpointWithResponseStream's answer: event-stream messages, encoded. Pure.

A message is, big-endian: total length, length of the headers, CRC-32 of these two, the headers,
the payload, CRC-32 of all before it (Smithy's `application/vnd.amazon.eventstream`). The events
and exceptions are those of `ResponseStream` in SageMaker Runtime's service model; nothing slow to
load is imported here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Literal

import msgspec

CONTENT_TYPE = b"application/vnd.amazon.eventstream"

StreamErrorCode = Literal["ModelInvocationTimeExceeded", "StreamBroken"]

# Of a header's value: text.
_TEXT = 7
_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")
# Prelude, its checksum, the message's checksum (bytes).
_FRAME_BYTES = 16


def _headers(**values: str) -> bytes:
    encoded = b""
    for name, text in values.items():
        key, value = b":" + name.replace("_", "-").encode(), text.encode()
        encoded += struct.pack(f"!B{len(key)}sBH", len(key), key, _TEXT, len(value)) + value
    return encoded


_PART = _headers(
    event_type="PayloadPart", content_type="application/octet-stream", message_type="event"
)


def payload_parts(parts: Iterable[bytes]) -> bytes:
    """Each part of the model's answer as a PayloadPart event, one behind the other."""
    return b"".join([_message(_PART, part) for part in parts])


def model_stream_error(message: str, code: StreamErrorCode) -> bytes:
    """The model did not bring its answer to an end."""
    return _exception("ModelStreamError", Message=message, ErrorCode=code)


def internal_stream_failure(message: str) -> bytes:
    """Gnomon did not."""
    return _exception("InternalStreamFailure", Message=message)


def _exception(name: str, **members: str) -> bytes:
    headers = _headers(
        exception_type=name, content_type="application/json", message_type="exception"
    )
    return _message(headers, msgspec.json.encode(members))


def _message(headers: bytes, payload: bytes) -> bytes:
    prelude = _PRELUDE.pack(_FRAME_BYTES + len(headers) + len(payload), len(headers))
    prelude_crc = zlib.crc32(prelude)
    head = prelude + _CRC.pack(prelude_crc) + headers
    return b"%b%b%b" % (head, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(head))))
