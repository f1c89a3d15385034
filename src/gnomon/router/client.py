"""A client's connection: HTTP/1.1 in, answers out, in the order of the requests.

The parser's callbacks collect; whole requests wait in a queue and are served one at a time by
`front`, so that pipelined answers keep their order. Time limits are looked at by `sweep`, which the
router calls periodically: no timer belongs to a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

import httptools
import structlog

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.router.call import Headers
from gnomon.router.exchange import Exchange
from gnomon.router.front import Front
from gnomon.router.request import Request
from gnomon.settings import RouterSettings

# Up to this many bytes, copying a body behind its head costs less than a second buffer to write.
_JOINED_BYTES = 16 * 1024
# What a transport hands over at once at most (bytes; uvloop's buffer): a head that began within
# such a piece is known to be too long only beyond it.
_PIECE_BYTES = 256 * 1024
# After an answer that ends a connection its input is thrown away, or the answer could be lost to a
# reset: once it is written for so long (s), and while something comes at least this often (s).
_LINGER_S = 30.0
_LINGER_SILENCE_S = 5.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MALFORMED = runtime_errors.validation_error("The request is not valid HTTP.")
_UPGRADE = runtime_errors.validation_error("Gnomon does not upgrade connections.")
_HEAD_TOO_LONG = runtime_errors.validation_error("The request's head is too long.", status=431)
_TOO_SLOW = runtime_errors.validation_error("The request did not come in time.", status=408)

# What of a request has come: nothing, some of its head, some of its body. Lingering: the
# connection is at its end, and what comes is thrown away.
Reading = Literal["idle", "head", "body", "lingering"]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Clients:
    """The open connections of one router, and what they share."""

    front: Front
    settings: RouterSettings
    monotonic_s: Callable[[], float]
    # Puts a connection behind something, such as TLS, that gives it the transport's bytes.
    cover: Callable[[asyncio.Protocol], asyncio.Protocol] | None = None
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
    """Serves one request at a time, `_serving`, which is None once it is answered."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_clients",
        "_continue_is_due",
        "_exchange",
        "_has_ended",
        "_head_bytes",
        "_headers",
        "_is_in_queue",
        "_is_reading_held",
        "_is_timed",
        "_is_writing_held",
        "_last_byte_s",
        "_parser",
        "_queue",
        "_reading",
        "_refusal",
        "_request",
        "_serving",
        "_since_s",
        "_transport",
        "_unread_bytes",
        "_unwritten_bytes",
        "_url",
    )

    _transport: asyncio.Transport

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._parser = httptools.HttpRequestParser(self)
        # What is being read.
        self._reading: Reading = "idle"
        self._url = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unread_bytes = 0
        self._continue_is_due = False
        # What is whole: requests, and behind them what ends the connection.
        self._queue: deque[Request] = deque()
        self._refusal: RuntimeFailure | None = None
        self._serving: Request | None = None
        self._exchange: Exchange | None = None
        self._is_in_queue = False
        # The connection.
        self._since_s = clients.monotonic_s()
        self._last_byte_s = self._since_s
        self._is_timed = True
        self._has_ended = False
        self._is_reading_held = False
        self._is_writing_held = False
        # Of answers, when it was last looked at.
        self._unwritten_bytes = 0

    # --- For the router -----------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being asked or answered."""
        return self._serving is None and not self._queue and self._reading in {"idle", "lingering"}

    def answer(self, head: bytes, body: bytes) -> None:
        """Answer the request that is being served; nothing happens when the client is gone."""
        request = self._serving
        if request is None:
            return
        self._serving = None
        self._exchange = None
        self._since_s = self._clients.monotonic_s()
        closes = not request.keeps_alive
        if self._clients.is_draining and not self._queue and self._reading == "idle":
            closes = True
        if closes:
            head += b"Connection: close\r\n\r\n"
        elif request.connection == b"keep-alive":
            # HTTP/1.0 needs to be told.
            head += b"Connection: keep-alive\r\n\r\n"
        else:
            head += b"\r\n"
        if request.method == b"HEAD":
            body = b""
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        if closes:
            self._end()
        elif not self._is_in_queue:
            self._go_on()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Act on the time limits that have passed."""
        before, unwritten = self._unwritten_bytes, self._transport.get_write_buffer_size()
        self._unwritten_bytes = unwritten
        if unwritten < before:
            # The client reads, however slowly.
            self._since_s = self._last_byte_s = now_s
        waited_s = now_s - self._since_s
        limits = self._clients.settings
        reading = self._reading
        if unwritten:
            if waited_s > limits.idle_time_limit_s:
                self._transport.abort()
        elif reading == "lingering":
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
            self._refusal = _TOO_SLOW
            self._go_on()

    # --- For the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._clients.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._reading == "lingering":
            self._last_byte_s = self._clients.monotonic_s()
            return
        if self._refusal is not None:
            return
        # An upper bound: of a piece in which a head begins, other things may be part.
        self._head_bytes = len(data) + (self._head_bytes if self._reading == "head" else 0)
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refusal = self._refusal or _MALFORMED
        if self._reading == "head" and self._head_bytes > (
            self._clients.settings.max_head_bytes + _PIECE_BYTES
        ):
            self._refusal = _HEAD_TOO_LONG
        if self._reading == "body" and self._unread_bytes > self._clients.settings.max_head_bytes:
            # Trailers, or the line before a chunk.
            self._refusal = self._refusal or _HEAD_TOO_LONG
        if not self._is_timed and self._reading != "idle":
            self._is_timed = True
            self._since_s = self._clients.monotonic_s()
        self._go_on()

    def eof_received(self) -> bool:
        self._has_ended = True
        # Half closed: what was asked is still answered.
        return self._serving is not None or bool(self._queue)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._clients.open.discard(self)
        self._queue.clear()
        self._serving = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client = None

    def pause_writing(self) -> None:
        self._is_writing_held = True

    def resume_writing(self) -> None:
        self._is_writing_held = False
        self._since_s = self._clients.monotonic_s()
        self._go_on()

    # --- Serving ------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Serve what is whole, then see what the connection waits for."""
        if self._is_in_queue or self._is_lingering:
            return
        self._is_in_queue = True
        queue = self._queue
        while queue and self._serving is None and not self._is_writing_held:
            self._serve(queue.popleft())
        self._is_in_queue = False
        if self._is_lingering:
            # An answer ended the connection: nothing behind it is answered.
            return
        if self._serving is not None or self._is_writing_held:
            if queue or self._refusal is not None:
                self._hold_reading(held=True)
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._has_ended:
            self._transport.close()
        else:
            if self._is_reading_held:
                self._hold_reading(held=False)
            if self._continue_is_due and not self._transport.is_closing():
                self._continue_is_due = False
                self._transport.write(_CONTINUE)

    @property
    def _is_lingering(self) -> bool:
        return self._reading == "lingering"

    def _serve(self, request: Request) -> None:
        self._serving = request
        try:
            exchange = self._clients.front.serve(self, request)
        except Exception:
            log.exception("a request failed", url=request.url[:200])
            if self._serving is request:
                self._clients.front.refuse(self, runtime_errors.service_unavailable("Try again."))
            return
        if exchange is not None and exchange.client is self:
            self._exchange = exchange

    def _refuse(self, failure: RuntimeFailure) -> None:
        """Answer what is no request, and end the connection."""
        self._refusal = None
        self._serving = Request(b"", b"", [], keeps_alive=False)
        self._clients.front.refuse(self, failure)

    def _end(self) -> None:
        """Close the connection so that what was written arrives."""
        self._queue.clear()
        self._reading = "lingering"
        self._last_byte_s = self._since_s
        if self._has_ended:
            self._transport.close()
        elif not self._transport.is_closing():
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

    # --- For the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reading = "head"
        self._is_timed = False
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind the head this is a trailer, which nobody asked for.
        if self._reading == "head":
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        request = Request(
            parser.get_method(), self._url, self._headers, keeps_alive=parser.should_keep_alive()
        )
        self._headers = []
        self._reading = "body"
        self._unread_bytes = 0
        self._body = []
        self._body_bytes = 0
        limits = self._clients.settings
        if self._head_bytes > limits.max_head_bytes < request.head_bytes():
            self._refusal = _HEAD_TOO_LONG
        elif request.content_length > limits.max_body_bytes:
            self._refusal = runtime_errors.body_too_long(limits.max_body_bytes)
        elif parser.should_upgrade():
            request.keeps_alive = False
            if request.method not in {b"GET", b"HEAD"}:
                # The parser would pass its body over.
                self._refusal = _UPGRADE
        self._continue_is_due = request.expects_continue
        self._request = request

    def on_chunk_header(self) -> None:
        self._unread_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        self._continue_is_due = False
        self._body_bytes += len(body)
        limit = self._clients.settings.max_body_bytes
        if self._body_bytes <= limit:
            self._body.append(body)
        elif self._refusal is None:
            self._refusal = runtime_errors.body_too_long(limit)

    def on_message_complete(self) -> None:
        self._reading = "idle"
        request = self._request
        self._request = None
        self._continue_is_due = False
        if request is None or self._refusal is not None:
            return
        body = self._body
        request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._queue.append(request)
