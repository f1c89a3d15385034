"""An answer of the control API, as the HTTP server needs it: status, headers, body."""

from __future__ import annotations

from dataclasses import dataclass

CONTENT_TYPE = "application/x-amz-json-1.1"


@dataclass(frozen=True)
class Response:
    """A whole HTTP answer. Its length is left to the server that sends it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def control_headers(request_id: str) -> tuple[tuple[str, str], ...]:
    """The headers that every answer of the control API carries."""
    return (("Content-Type", CONTENT_TYPE), ("x-amzn-RequestId", request_id))
