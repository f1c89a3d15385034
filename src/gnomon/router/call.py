"""One request to one server, as a pool carries it, and the answer that comes back.

The kinds of call are in the modules that make them: production and shadow copies, requests that
are passed to control, pings. A pool sees only this interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from gnomon.router.decide import Failure

_CONTENT_TYPE_BYTES = len(b"content-type")

Headers = list[tuple[bytes, bytes]]


class UpstreamAnswer:
    """A whole answer. Header names are as the server wrote them; `body` is without its framing."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.content_type: bytes | None = None
        for name, value in headers:
            # Looking at the length first saves most of the comparisons.
            if len(name) == _CONTENT_TYPE_BYTES and name.lower() == b"content-type":
                self.content_type = value


class Source(Protocol):
    """What an answer comes from piece by piece, and can be slowed down by."""

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...


class Stream(Protocol):
    """Takes a call's answer of 2xx piece by piece, before the call is told that it was answered.

    An answer of another status comes whole to the call.
    """

    def began(self, source: Source, answer: UpstreamAnswer) -> None:
        """The answer's head is there; its body is not."""

    def came(self, parts: list[bytes], at_s: float) -> bool:
        """More of the body came, as the server cut it; False cuts it, and the call fails."""

    def held_s(self, now_s: float) -> float:
        """For how long up to now the answer was not read, because its taker was slower."""


class Call(ABC):
    """Exactly one of `answered` and `failed` is called, once; `sent` at most once, before them.

    Times are the clock's monotonic seconds. `sent_s` is 0 until a byte was handed to a connection.
    """

    __slots__ = ("body", "head", "is_head_request", "sent_s", "stream", "submitted_s")

    # How a call fails whose answer's head, or trailers, are over the limit.
    LONG_HEAD: ClassVar[Failure] = "malformed"

    def __init__(self, head: bytes, body: bytes, submitted_s: float) -> None:
        self.head = head
        self.body = body
        self.submitted_s = submitted_s
        self.sent_s = 0.0
        # The answer to HEAD tells the length of a body that does not come.
        self.is_head_request = False
        self.stream: Stream | None = None

    def sent(self) -> None:  # noqa: B027 - most calls have nothing to do here
        """The request was handed to a connection."""

    def takes(self, _body_bytes: int, /) -> bool:
        """That much more of a whole answer's body has come; False cuts it, and the call fails."""
        return True

    @abstractmethod
    def answered(self, answer: UpstreamAnswer, at_s: float, /) -> None:
        """The answer is whole, whatever its status; what went to `stream` is not in it."""

    @abstractmethod
    def failed(self, failure: Failure, at_s: float, /) -> None:
        """There will be no answer."""
