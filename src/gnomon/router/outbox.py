"""Says when the router writes what it has to write.

A write wakes up whoever reads, and waking a sleeper on another core costs more than all else that a
request costs. Writes that follow one another directly find their readers awake, so while several
requests are open they are kept until everything that this round of the loop read has been looked
at. Where few are open nothing waits but copies: they go a moment later, or they would stand between
a request and its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

# From so many open requests on, writes are gathered (the bench `router` shows both sides).
_SEVERAL = 4
# Up to this many bytes, copying a body behind its head costs less than a second buffer to write.
# Nothing longer waits, but copies.
_JOINED_BYTES = 16 * 1024
# So many messages at most wait, besides copies.
_MOST = 64
# How long (s) copies wait: a model that is fast has answered by then.
_COPIES_WAIT_S = 0.001

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Whose data waits: it is told when it was written. `is_waiting` is the outbox's to set."""

    is_waiting: bool

    def sent(self, at_s: float) -> None: ...


# To a transport; with a sender or without.
_Message = tuple[asyncio.Transport, bytes, bytes, Sender | None]


class Outbox:
    """`open` is how many clients wait for an answer; those who serve them keep it current.

    What is written on a transport by the same methods keeps its order: copies have their own.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.open = 0
        self._monotonic_s = monotonic_s
        self._waiting: deque[_Message] = deque()
        self._copies: deque[_Message] = deque()
        # Whether the loop is to flush them.
        self._is_due = False
        self._are_copies_due = False

    def write(
        self, transport: asyncio.Transport, data: bytes, sender: Sender | None = None
    ) -> None:
        """Write it now or at the end of this round."""
        if not self._is_due:
            if self.open < _SEVERAL:
                transport.write(data)
                return
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.flush)
        waiting = self._waiting
        if len(data) > _JOINED_BYTES:
            self._write_all(waiting)
            transport.write(data)
            return
        waiting.append((transport, data, b"", sender))
        if sender is not None:
            sender.is_waiting = True
        if len(waiting) >= _MOST:
            self._write_all(waiting)

    def write_message(
        self, transport: asyncio.Transport, head: bytes, body: bytes, sender: Sender | None = None
    ) -> None:
        """The same, for a head and a body of any length."""
        if len(body) <= _JOINED_BYTES:
            self.write(transport, head + body, sender)
        else:
            self._write_all(self._waiting)
            transport.writelines((head, body))

    def write_copy(
        self, transport: asyncio.Transport, head: bytes, body: bytes, sender: Sender
    ) -> None:
        """Write it a moment later."""
        if len(body) <= _JOINED_BYTES:
            head, body = head + body, b""
        self._copies.append((transport, head, body, sender))
        sender.is_waiting = True
        if not self._are_copies_due:
            self._are_copies_due = True
            asyncio.get_running_loop().call_later(_COPIES_WAIT_S, self._flush_copies)

    def flush(self) -> None:
        """Write what waits, but no copies."""
        self._is_due = False
        self._write_all(self._waiting)

    def flush_all(self) -> None:
        self.flush()
        self._write_all(self._copies)

    def _flush_copies(self) -> None:
        self._are_copies_due = False
        self.flush_all()

    def _write_all(self, waiting: deque[_Message]) -> None:
        """What is written to a transport that is closing by now goes nowhere."""
        if not waiting:
            return
        now_s = self._monotonic_s()
        while waiting:
            transport, head, body, sender = waiting.popleft()
            if transport.is_closing():
                continue
            try:
                if body:
                    transport.writelines((head, body))
                else:
                    transport.write(head)
                if sender is not None:
                    sender.sent(now_s)
            except Exception:
                # The others' data is to be written all the same.
                log.exception("a write failed")
