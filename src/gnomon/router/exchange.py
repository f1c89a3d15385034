"""One request's record from its first byte at the router to the last frame about it.

`plane` fills the production side, `mirror` the shadow side, `records` turns both into frames. An
exchange is open, for its entry, until there is nothing left to write about it.
"""

from __future__ import annotations

from random import Random
from typing import Protocol
from uuid import UUID

from gnomon.model.snapshot import Capture
from gnomon.router.call import Source
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.recording import Recording
from gnomon.router.request import Request
from gnomon.router.routes import Entry


class Client(Protocol):
    """Who asked, and waits."""

    def answer(self, head: bytes, body: bytes) -> None:
        """Write the answer; `head` ends with a whole header line, the rest is the client's."""

    def begin(self, head: bytes, source: Source) -> None:
        """Begin an answer of unknown length; `source` is slowed down to what the client takes."""

    def write(self, data: bytes) -> None:
        """More of the answer that was begun, at least a byte."""

    def end(self) -> None:
        """The answer that was begun is whole."""


class Outcome:
    """How one side of an exchange ended. `status` is 0 and `failure` says why without an answer.

    Of a streamed answer `body` is what is kept, `recording` says the rest, and its first chunk came
    after `first_chunk_s`, if any did.
    """

    __slots__ = (
        "body",
        "content_type",
        "failure",
        "first_chunk_s",
        "instance",
        "latency_s",
        "recording",
        "status",
        "variant",
    )

    def __init__(
        self,
        variant: LiveVariant,
        instance: LiveInstance,
        status: int,
        failure: str,
        latency_s: float,
        content_type: bytes | None,
        body: bytes,
    ) -> None:
        self.variant = variant
        self.instance = instance
        self.status = status
        self.failure = failure
        self.latency_s = latency_s
        self.content_type = content_type
        self.body = body
        self.recording: Recording | None = None
        self.first_chunk_s: float | None = None

    def remember(self, recording: Recording, sent_s: float) -> None:
        """It was streamed; the call was sent at `sent_s`."""
        self.body = recording.body
        self.recording = recording
        if recording.first_at_s is not None:
            self.first_chunk_s = recording.first_at_s - sent_s


class Exchange:
    """`client` is None once it is answered or gone; `copy_is_open` from the copy to its end,
    `repeat_is_open` while production is asked again; `is_recorded` once all but what that
    says is written.

    `at_s` is epoch seconds, `began_s` monotonic.
    """

    __slots__ = (
        "at_s",
        "began_s",
        "captures",
        "client",
        "client_has_stalled",
        "copy_is_open",
        "entry",
        "event_id",
        "held_bytes",
        "is_answered",
        "is_recorded",
        "model_head",
        "production",
        "repeat_is_open",
        "request",
        "shadow",
        "was_offered",
    )

    def __init__(
        self,
        entry: Entry,
        client: Client,
        request: Request,
        event_id: bytes,
        at_s: float,
        began_s: float,
        captures: tuple[Capture, ...],
    ) -> None:
        self.entry = entry
        self.client: Client | None = client
        self.request = request
        self.event_id = event_id
        # The header lines that both copies carry.
        self.model_head = b"%bContent-Length: %d\r\nX-Gnomon-Event-Id: %b\r\n" % (
            b"".join(request.model_lines),
            len(request.body),
            event_id,
        )
        self.at_s = at_s
        self.began_s = began_s
        self.captures = captures
        self.production: Outcome | None = None
        self.shadow: Outcome | None = None
        self.is_answered = False
        # It took nothing of a streamed answer for too long, and was given up.
        self.client_has_stalled = False
        self.was_offered = False
        self.copy_is_open = False
        self.repeat_is_open = False
        self.is_recorded = False
        # What the mirror's budget holds for it.
        self.held_bytes = 0


class EventIds:
    """Ids in the form of a version 4 UUID (RFC 9562), one after another.

    All but the last 48 bits are random for each router incarnation; these count from a random
    start, which costs a request a fifth of what a new UUID does.
    """

    def __init__(self, random: Random) -> None:
        text = str(UUID(int=random.getrandbits(128), version=4)).encode()
        self._beginning = text[:24]
        self._last = random.getrandbits(48)

    def next(self) -> bytes:
        self._last = (self._last + 1) & 0xFFFF_FFFF_FFFF
        return b"%b%012x" % (self._beginning, self._last)
