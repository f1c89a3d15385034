"""One connection to a server: sends one call at a time and reads its answer.

It is owned by a `pool.Pool`, which it tells when an answer is whole, when the call failed and when
it is lost. The parser's callbacks only collect; what follows from an answer happens after the
parser has returned, so that bytes behind an answer can never be read as the next one.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, cast

import httptools

from gnomon.router.call import Call, Headers, Stream, UpstreamAnswer
from gnomon.router.decide import Failure

if TYPE_CHECKING:
    from gnomon.router.pool import Pool

_BODILESS = frozenset({204, 304})
_CODING = b"transfer-encoding"
_CODING_BYTES = len(_CODING)
_FRAMING = frozenset({b"content-length", _CODING})


class UpstreamConnection(asyncio.Protocol):
    """Free, or with exactly one call. `is_reusable` turns False for good."""

    __slots__ = (
        "_body",
        "_ends_at_eof",
        "_has_begun",
        "_headers",
        "_in_body",
        "_is_whole",
        "_max_head_bytes",
        "_parser",
        "_poll",
        "_pool",
        "_status",
        "_stream",
        "_transport",
        "_unread_bytes",
        "call",
        "idle_since_s",
        "is_reusable",
        "is_waiting",
    )

    _transport: asyncio.Transport

    def __init__(self, pool: Pool, max_head_bytes: int) -> None:
        self._pool = pool
        self._max_head_bytes = max_head_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._poll: select.poll | None = None
        self.call: Call | None = None
        # Whether its call's request is in the outbox.
        self.is_waiting = False
        self.idle_since_s = 0.0
        self.is_reusable = True
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._status = 0
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._in_body = False
        self._ends_at_eof = False
        self._is_whole = False
        self._unread_bytes = 0
        # Where the body goes as it comes.
        self._stream: Stream | None = None
        self._has_begun = False

    # --- For the pool -------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """What of the requests the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def send(self, call: Call) -> None:
        self.call = call
        self._pool.write(self._transport, call.head, call.body, self)

    def sent(self, at_s: float) -> None:
        """The request that waited in the outbox is written."""
        self.is_waiting = False
        if self.call is not None:
            self.call.sent_s = at_s

    def may_be_reused(self, now_s: float, max_idle_s: float) -> bool:
        """Whether a request may be sent on it: it is young, and the server has not closed it.

        The kernel is asked each time. What the loop knows is as old as its last round, and a server
        that died since would take a request with it that came after its death.
        """
        return (
            not self._transport.is_closing()
            and now_s - self.idle_since_s < max_idle_s
            and not self._has_input()
        )

    def abort(self) -> None:
        """End it at once; its call, if any, is not told."""
        self.call = None
        self.is_reusable = False
        # Parser and connection refer to each other: what was read would stay until a collection.
        self._body = []
        self._transport.abort()

    def close(self) -> None:
        self.is_reusable = False
        self._transport.close()

    def hold_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _has_input(self) -> bool:
        # Nothing is to be read from a free connection but its end.
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(
                self._transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP
            )
        return bool(self._poll.poll(0))

    # --- For the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.call is None:
            self.abort()
            return
        if self.is_waiting:
            # It speaks before it is asked, such as of its having waited too long.
            self._give_back()
            return
        meter = self._pool.meter
        if meter is not None:
            meter.read(self, len(data))
        self._unread_bytes += len(data)
        is_malformed = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # What stands behind a whole answer spoils the connection, not the answer.
            self.is_reusable = False
            is_malformed = not self._is_whole
        if self._stream is not None:
            self._pass_on(self._stream)
        if is_malformed:
            self._fail("malformed")
            return
        if self._is_whole:
            self._finish()
        elif self._unread_bytes > self._max_head_bytes and self.call is not None:
            # A head, interim answers, trailers: none of them is counted as part of a body.
            self._fail(self.call.LONG_HEAD)

    def eof_received(self) -> None:
        self.is_reusable = False
        if self._ends_at_eof and self.call is not None:
            self._finish()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_reusable = False
        self._pool.lost(self)
        if self.is_waiting:
            self._give_back()
        else:
            self._fail("reset")

    def _finish(self) -> None:
        call = self.call
        if call is None:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        answer = UpstreamAnswer(self._status, self._headers, body)
        self.call = None
        self._begin_answer()
        self._pool.answered(self, call, answer)

    def _pass_on(self, stream: Stream) -> None:
        """What came of the body, after the parser has returned."""
        if not self._has_begun:
            self._has_begun = True
            self._pool.began(self)
            stream.began(self, UpstreamAnswer(self._status, self._headers, b""))
        parts, self._body = self._body, []
        if parts and not stream.came(parts, self._pool.now_s()):
            self._fail("cut")

    def _give_back(self) -> None:
        """Nothing of the request was written. It may go over another connection, unless this one
        was new: who accepts and then serves nobody would be tried without end.
        """
        call = self.call
        if call is not None and self.idle_since_s:
            self.abort()
            self._pool.submit_again(self, call)
        else:
            self._fail("refused")

    def _fail(self, failure: Failure) -> None:
        call = self.call
        if call is not None:
            self.abort()
            self._pool.failed(self, call, failure)

    # --- For the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind the body this is a trailer, which nobody asked for.
        if not self._in_body:
            # The length first: a header's name is put into lower case only where it may matter.
            if len(name) == _CODING_BYTES and name.lower() == _CODING:
                self._check_coding(value)
            self._headers.append((name, value))

    def _check_coding(self, value: bytes) -> None:
        """Raises for what is not chunked alone and said once: nothing else is undone here."""
        is_repeated = any(name.lower() == _CODING for name, _ in self._headers)
        if is_repeated or value.strip().lower() != b"chunked":
            raise httptools.HttpParserError("a coding that is not read")

    def on_headers_complete(self) -> None:
        if self._is_whole:
            return
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._status = status
        self._in_body = True
        if self.call is not None and 200 <= status < 300:
            self._stream = self.call.stream
        if not self._parser.should_keep_alive():
            self.is_reusable = False
            self._ends_at_eof = status not in _BODILESS and not _is_framed(self._headers)
        if self.call is not None and self.call.is_head_request:
            self.is_reusable = False
            self._is_whole = True

    def on_chunk_header(self) -> None:
        self._unread_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        call = self.call
        if self._is_whole or call is None:
            return
        if self._stream is not None or call.takes(len(body)):
            self._body.append(body)
        else:
            self._fail("cut")

    def on_message_complete(self) -> None:
        if self._in_body:
            self._is_whole = True
        else:
            # An interim answer (1xx): the real one follows.
            self._headers = []


def _is_framed(headers: Headers) -> bool:
    """Whether the head says where the body ends."""
    return any(name.lower() in _FRAMING for name, _ in headers)
