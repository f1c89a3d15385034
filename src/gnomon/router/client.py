"""A client's connection: HTTP/1.1 in, answers out, in the order of the requests.

`intake` makes requests of what is read; they are served one at a time by `front`, so that pipelined
answers keep their order. Time limits are looked at by `sweep`, which the router calls periodically:
no timer belongs to a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import structlog

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.router.access_log import AccessLog
from gnomon.router.call import Source
from gnomon.router.exchange import Exchange
from gnomon.router.front import Front
from gnomon.router.intake import Intake
from gnomon.router.outbox import Outbox
from gnomon.router.request import Request
from gnomon.settings import RouterSettings

# After an answer that ends a connection its input is thrown away, or the answer could be lost to a
# reset: once it is written for so long (s), and while something comes at least this often (s).
_LINGER_S = 30.0
_LINGER_SILENCE_S = 5.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_SLOW = runtime_errors.validation_error("The request did not come in time.", status=408)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Clients:
    """The open connections of one router, and what they share."""

    front: Front
    settings: RouterSettings
    monotonic_s: Callable[[], float]
    outbox: Outbox
    # Puts a connection behind something, such as TLS, that gives it the transport's bytes.
    cover: Callable[[asyncio.Protocol], asyncio.Protocol] | None = None
    # None: nothing is noted.
    access_log: AccessLog | None = None
    open: set[ClientConnection] = field(default_factory=set)
    # Answers say `Connection: close` from now on.
    is_draining: bool = False

    def connect(self) -> asyncio.Protocol:
        connection = ClientConnection(self)
        return connection if self.cover is None else self.cover(connection)

    def sweep(self, now_s: float) -> None:
        for connection in list(self.open):
            connection.sweep(now_s)


class ClientConnection(asyncio.Protocol):
    """Serves one request at a time, `_serving`, which is None once it is answered.

    Lingering: the connection is at its end, and what comes is thrown away.
    """

    __slots__ = (
        "_answer_bytes",
        "_clients",
        "_exchange",
        "_has_ended",
        "_has_stalled",
        "_head",
        "_intake",
        "_is_chunked",
        "_is_in_queue",
        "_is_lingering",
        "_is_reading_held",
        "_is_writing_held",
        "_last_byte_s",
        "_outbox",
        "_serving",
        "_serving_since_s",
        "_since_s",
        "_source",
        "_streamed_bytes",
        "_taken_bytes",
        "_transport",
        "_unwritten_bytes",
    )

    _transport: asyncio.Transport

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._outbox = clients.outbox
        self._intake = Intake(clients.settings)
        self._serving: Request | None = None
        self._exchange: Exchange | None = None
        # What an answer comes from that is written piece by piece.
        self._source: Source | None = None
        self._is_chunked = False
        # For the access log: when the request was whole, and what was answered piece by piece.
        self._serving_since_s = 0.0
        self._head = b""
        self._answer_bytes = 0
        self._is_in_queue = False
        # The connection.
        self._since_s = clients.monotonic_s()
        self._last_byte_s = self._since_s
        self._has_ended = False
        self._has_stalled = False
        self._is_lingering = False
        self._is_reading_held = False
        self._is_writing_held = False
        # What the client had not taken of its answers when it was last looked at, and what it had:
        # while more is written, the former alone does not say whether it takes any.
        self._unwritten_bytes = 0
        self._streamed_bytes = 0
        self._taken_bytes = 0

    # --- For the router -----------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being asked or answered."""
        intake = self._intake
        return (
            self._serving is None
            and not intake.requests
            and (intake.reading == "idle" or self._is_lingering)
        )

    def answer(self, head: bytes, body: bytes) -> None:
        """Answer the request that is being served; nothing happens when the client is gone."""
        request = self._serving
        if request is None:
            return
        closes = self._closes(request)
        head += _connection_line(request, closes=closes)
        if request.method == b"HEAD":
            body = b""
        self._outbox.write_message(self._transport, head, body)
        log = self._clients.access_log
        if log is not None:
            log.note(request, head, len(body), self._serving_since_s)
        self._answered(closes=closes)

    def begin(self, head: bytes, source: Source) -> None:
        """Begin an answer of unknown length; `source` is slowed down to what the client takes."""
        request = self._serving
        if request is None:
            return
        self._source = source
        self._is_chunked = not request.is_of_1_0
        if self._closes(request) or request.is_of_1_0:
            # Without chunks the connection's end is the answer's. What closes stays so.
            request.keeps_alive = False
        if self._is_chunked:
            head += b"Transfer-Encoding: chunked\r\n"
        head += _connection_line(request, closes=not request.keeps_alive)
        self._since_s = self._clients.monotonic_s()
        self._head = head
        self._send(head)

    def write(self, data: bytes) -> None:
        """More of the answer that was begun, at least a byte."""
        if self._serving is None or self._transport.is_closing():
            return
        if not self._unwritten_bytes:
            self._since_s = self._clients.monotonic_s()
        self._answer_bytes += len(data)
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._streamed_bytes += len(data)
        self._send(data)

    def end(self) -> None:
        """The answer that was begun is whole."""
        request = self._serving
        if request is None:
            return
        self._source = None
        if self._is_chunked and not self._transport.is_closing():
            self._send(b"0\r\n\r\n")
        self._note_stream(request, "")
        self._answered(closes=not request.keeps_alive)

    def _send(self, data: bytes) -> None:
        self._outbox.write(self._transport, data)

    def _note_stream(self, request: Request, ended: str) -> None:
        head, self._head = self._head, b""
        answer_bytes, self._answer_bytes = self._answer_bytes, 0
        log = self._clients.access_log
        if log is not None:
            log.note(request, head, answer_bytes, self._serving_since_s, ended)

    def _closes(self, request: Request) -> bool:
        """Whether the connection ends with the answer to this request."""
        intake = self._intake
        is_last = self._clients.is_draining and not intake.requests and intake.reading == "idle"
        return is_last or not request.keeps_alive

    def _answered(self, *, closes: bool) -> None:
        self._serving = None
        self._outbox.open -= 1
        self._exchange = None
        self._since_s = self._clients.monotonic_s()
        if closes:
            self._end()
        elif not self._is_in_queue:
            self._go_on()

    def close(self) -> None:
        """Once what waits in the outbox is written."""
        self._outbox.flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Act on the time limits that have passed."""
        self._unwritten_bytes = unwritten = self._transport.get_write_buffer_size()
        before, self._taken_bytes = self._taken_bytes, self._streamed_bytes - unwritten
        if self._taken_bytes > before:
            # The client reads, however slowly.
            self._since_s = self._last_byte_s = now_s
        waited_s = now_s - self._since_s
        limits = self._clients.settings
        reading = self._intake.reading
        if unwritten:
            if waited_s > limits.answer_time_limit_s:
                self._give_up()
        elif self._is_lingering:
            if waited_s > _LINGER_S or now_s - self._last_byte_s > _LINGER_SILENCE_S:
                self._transport.abort()
        elif self._serving is not None:
            # The model has a time limit of its own, which answers.
            return
        elif reading == "idle":
            if waited_s > limits.idle_time_limit_s:
                self._transport.close()
        elif waited_s > (
            limits.head_time_limit_s if reading == "head" else limits.body_time_limit_s
        ):
            self._intake.refusal = _TOO_SLOW
            self._go_on()

    def _give_up(self) -> None:
        """The client takes nothing of its answer: that is its own end, and not the model's."""
        self._has_stalled = True
        if self._exchange is not None:
            self._exchange.client_has_stalled = True
        self._transport.abort()

    # --- For the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._clients.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            self._last_byte_s = self._clients.monotonic_s()
            return
        intake = self._intake
        intake.feed(data)
        if intake.is_new and intake.reading != "idle":
            intake.is_new = False
            self._since_s = self._clients.monotonic_s()
        self._go_on()

    def eof_received(self) -> bool:
        self._has_ended = True
        # Half closed: what was asked is still answered. Else the transport closes.
        stays = self._serving is not None or bool(self._intake.requests)
        if not stays:
            self._outbox.flush()
        return stays

    def connection_lost(self, _exc: Exception | None) -> None:
        self._clients.open.discard(self)
        self._intake.requests.clear()
        request, self._serving = self._serving, None
        if request is not None:
            self._outbox.open -= 1
            self._note_stream(request, "client_stalled" if self._has_stalled else "client_left")
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client = None
        source, self._source = self._source, None
        if source is not None:
            # It is read to its end all the same: its request is counted and compared.
            source.go_on_reading()

    def pause_writing(self) -> None:
        self._is_writing_held = True
        if self._source is not None:
            self._source.hold_reading()

    def resume_writing(self) -> None:
        self._is_writing_held = False
        self._since_s = self._clients.monotonic_s()
        if self._source is not None:
            self._source.go_on_reading()
        self._go_on()

    # --- Serving ------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Serve what is whole, then see what the connection waits for."""
        if self._is_in_queue or self._is_lingering:
            return
        self._is_in_queue = True
        intake = self._intake
        queue = intake.requests
        while queue and self._serving is None and not self._is_writing_held:
            self._serve(queue.popleft())
        self._is_in_queue = False
        if self._is_lingering:
            # An answer ended the connection: nothing behind it is answered.
            return
        if self._serving is not None or self._is_writing_held:
            if queue or intake.refusal is not None:
                self._hold_reading(held=True)
        elif intake.refusal is not None:
            self._refuse(intake.refusal)
        elif self._has_ended:
            self.close()
        else:
            if self._is_reading_held:
                self._hold_reading(held=False)
            if intake.continue_is_due and not self._transport.is_closing():
                intake.continue_is_due = False
                self._send(_CONTINUE)

    def _serve(self, request: Request) -> None:
        self._serving = request
        self._outbox.open += 1
        if self._clients.access_log is not None:
            self._serving_since_s = self._clients.monotonic_s()
        if request.refusal is not None:
            self._clients.front.refuse(self, request.refusal)
            return
        try:
            exchange = self._clients.front.serve(self, request)
        except Exception:
            log.exception("a request failed", url=request.url[:200])
            if self._serving is request:
                # An answer may still come for it, which is not to meet the next request.
                request.keeps_alive = False
                self._clients.front.refuse(self, runtime_errors.service_unavailable("Try again."))
            return
        if exchange is not None and exchange.client is self:
            self._exchange = exchange

    def _refuse(self, failure: RuntimeFailure) -> None:
        """Answer what is no request, and end the connection."""
        self._serving = Request(b"", b"", [], keeps_alive=False)
        self._outbox.open += 1
        self._clients.front.refuse(self, failure)

    def _end(self) -> None:
        """Close the connection so that what was written arrives."""
        self._intake.requests.clear()
        self._is_lingering = True
        self._last_byte_s = self._since_s
        if self._has_ended:
            self.close()
        elif not self._transport.is_closing():
            self._outbox.flush()
            self._transport.write_eof()
            self._hold_reading(held=False)

    def _hold_reading(self, *, held: bool) -> None:
        if held == self._is_reading_held or self._transport.is_closing():
            return
        self._is_reading_held = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def _connection_line(request: Request, *, closes: bool) -> bytes:
    """The head's last lines."""
    if closes:
        return b"Connection: close\r\n\r\n"
    if request.connection == b"keep-alive":
        # HTTP/1.0 needs to be told.
        return b"Connection: keep-alive\r\n\r\n"
    return b"\r\n"
