"""Production's answer piece by piece: to the client as event-stream messages, as it comes.

What is remembered of it is a `Recording`. Who makes the call, counts it and pairs it is `plane`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gnomon.aws import event_stream
from gnomon.router import replies
from gnomon.router.call import Source, UpstreamAnswer
from gnomon.router.decide import Failure
from gnomon.router.exchange import Exchange
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.recording import Recording

_TIMED_OUT = (
    "Your invocation timed out while waiting for the rest of the response from container primary."
)
_BROKE_OFF = "The model's response broke off before it was whole."
_FAILED = "Gnomon failed on this response. Its log has more under request id {}."

log = structlog.get_logger(__name__)


class ProductionStream:
    """One answer's way to the client. A client that goes away changes nothing for the rest."""

    __slots__ = (
        "_date",
        "_exchange",
        "_held_s",
        "_held_since_s",
        "_instance",
        "_monotonic_s",
        "_source",
        "_variant",
        "has_begun",
        "recording",
    )

    def __init__(
        self,
        exchange: Exchange,
        variant: LiveVariant,
        instance: LiveInstance,
        recording: Recording,
        monotonic_s: Callable[[], float],
        date: bytes,
    ) -> None:
        self._exchange = exchange
        self._variant = variant
        self._instance = instance
        self._monotonic_s = monotonic_s
        self._date = date
        self._source: Source | None = None
        self._held_s = 0.0
        self._held_since_s: float | None = None
        self.recording = recording
        self.has_begun = False

    # --- For the connection to the model ------------------------------------------------------

    def began(self, source: Source, answer: UpstreamAnswer) -> None:
        self._source = source
        self.has_begun = True
        client = self._exchange.client
        if client is not None:
            head = replies.stream_begun(
                answer,
                date=self._date,
                variant=self._variant.name_bytes,
                instance=self._instance.id_bytes,
                event_id=self._exchange.event_id,
            )
            client.begin(head, self)

    def came(self, parts: list[bytes], at_s: float) -> bool:
        try:
            self.recording.add(parts, at_s)
            client = self._exchange.client
            if client is not None:
                client.write(event_stream.payload_parts(parts))
        except Exception:
            event_id = self._exchange.event_id.decode()
            log.exception("a streamed answer failed", request_id=event_id)
            self._end_with(event_stream.internal_stream_failure(_FAILED.format(event_id)))
        return True

    def held_s(self, now_s: float) -> float:
        if self._held_since_s is None:
            return self._held_s
        return self._held_s + now_s - self._held_since_s

    # --- For the client, whose pace this is ---------------------------------------------------

    def hold_reading(self) -> None:
        if self._source is not None and self._held_since_s is None:
            self._held_since_s = self._monotonic_s()
            self._source.hold_reading()

    def go_on_reading(self) -> None:
        if self._source is not None and self._held_since_s is not None:
            self._held_s = self.held_s(self._monotonic_s())
            self._held_since_s = None
            self._source.go_on_reading()

    # --- For the plane ------------------------------------------------------------------------

    def end(self) -> None:
        """The answer is whole."""
        self._end_with(b"")

    def break_off(self, failure: Failure) -> None:
        """The answer ends here, and the client is told so in the stream."""
        if failure == "deadline":
            error = event_stream.model_stream_error(_TIMED_OUT, "ModelInvocationTimeExceeded")
        else:
            error = event_stream.model_stream_error(_BROKE_OFF, "StreamBroken")
        self._end_with(error)

    def _end_with(self, error: bytes) -> None:
        # The connection may serve another call from now on, which must find it read.
        self.go_on_reading()
        client, self._exchange.client = self._exchange.client, None
        if client is not None:
            if error:
                client.write(error)
            client.end()
