"""What a client's bytes become: whole requests, or an error that ends the connection.

The parser's callbacks collect. `client` owns the connection, feeds what it reads and takes the
requests; how long a client may take is its matter too.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import httptools

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.router.call import Headers
from gnomon.router.request import Request
from gnomon.settings import RouterSettings

# What a transport hands over at once at most (bytes; uvloop's buffer): a head that began within
# such a piece is known to be too long only beyond it.
_PIECE_BYTES = 256 * 1024

_MALFORMED = runtime_errors.validation_error("The request is not valid HTTP.")
_UPGRADE = runtime_errors.validation_error("Gnomon does not upgrade connections.")
_VERSION = runtime_errors.validation_error("Gnomon speaks HTTP/1.1 and HTTP/1.0.", status=505)
_CODING = runtime_errors.validation_error("A body can be chunked, and not otherwise coded.", 501)
_HEAD_TOO_LONG = runtime_errors.validation_error("The request's head is too long.", status=431)

# A body that is too long is passed over, so that the connection can go on, up to so many times the
# limit.
_PASSED_OVER = 4

# What of a request has come: nothing, some of its head, some of its body.
Reading = Literal["idle", "head", "body"]


class Intake:
    """`requests` are whole, in order; behind them `refusal`, once there is one, is the last answer.
    A request that is refused for itself has a `refusal` of its own, and no body.

    `is_new`: a request has begun since its owner looked. `continue_is_due`: the client waits to be
    told to send the body.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head_bytes",
        "_headers",
        "_limits",
        "_parser",
        "_request",
        "_unread_bytes",
        "_url",
        "continue_is_due",
        "is_new",
        "reading",
        "refusal",
        "requests",
    )

    def __init__(self, limits: RouterSettings) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unread_bytes = 0
        self.reading: Reading = "idle"
        self.is_new = False
        self.continue_is_due = False
        self.requests: deque[Request] = deque()
        self.refusal: RuntimeFailure | None = None

    def feed(self, data: bytes) -> None:
        """Take what came. Behind a refusal everything is passed over."""
        if self.refusal is not None:
            return
        # An upper bound: of a piece in which a head begins, other things may be part.
        self._head_bytes = len(data) + (self._head_bytes if self.reading == "head" else 0)
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refusal = self.refusal or _MALFORMED
        if self.reading == "head" and self._head_bytes > self._limits.max_head_bytes + _PIECE_BYTES:
            self.refusal = _HEAD_TOO_LONG
        if self.reading == "body" and self._unread_bytes > self._limits.max_head_bytes:
            # Trailers, or the line before a chunk.
            self.refusal = self.refusal or _HEAD_TOO_LONG

    # --- For the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.reading = "head"
        self.is_new = True
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind the head this is a trailer, which nobody asked for.
        if self.reading == "head":
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        request = Request(
            parser.get_method(), self._url, self._headers, keeps_alive=parser.should_keep_alive()
        )
        self._headers = []
        self.reading = "body"
        self._unread_bytes = 0
        self._body = []
        self._body_bytes = 0
        limits = self._limits
        if request.connection is not None or not request.keeps_alive:
            # Only these can be of another version than 1.1.
            version = parser.get_http_version()
            request.is_of_1_0 = version == "1.0"
            if version not in {"1.0", "1.1"}:
                self.refusal = _VERSION
        if request.coding is not None and (request.coding != b"chunked" or request.is_of_1_0):
            # What the body is would be lost on the way to the model; HTTP/1.0 has no codings.
            self.refusal = _CODING
        if self._head_bytes > limits.max_head_bytes < request.head_bytes():
            request.refusal = _HEAD_TOO_LONG
        elif request.content_length > limits.max_body_bytes:
            request.refusal = runtime_errors.body_too_long(limits.max_body_bytes)
        if request.refusal is not None and (
            # Whether the body comes is not known then.
            request.expects_continue
            or request.content_length > limits.max_body_bytes * _PASSED_OVER
        ):
            self.refusal = request.refusal
        if parser.should_upgrade():
            request.keeps_alive = False
            if request.method not in {b"GET", b"HEAD"}:
                # The parser would pass its body over.
                self.refusal = _UPGRADE
        self.continue_is_due = request.expects_continue
        self._request = request

    def on_chunk_header(self) -> None:
        self._unread_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        self.continue_is_due = False
        self._body_bytes += len(body)
        limit = self._limits.max_body_bytes
        request = self._request
        if self._body_bytes > limit:
            self._body = []
            if request is not None and request.refusal is None:
                request.refusal = runtime_errors.body_too_long(limit)
            if self.refusal is None and self._body_bytes > limit * _PASSED_OVER:
                self.refusal = runtime_errors.body_too_long(limit)
        elif request is not None and request.refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self.reading = "idle"
        request = self._request
        self._request = None
        self.continue_is_due = False
        if request is None or self.refusal is not None:
            return
        body = self._body
        request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self.requests.append(request)
