"""Gathers what the router writes in one round of its loop, where much is going on.

A write wakes up whoever reads, and waking a sleeper on another core costs more than all else that a
request costs. Writes that follow one another directly find their readers awake, so while several
requests are open they are kept until everything that this round read has been looked at. Answers
and production's requests are written first, copies last. Where few are open nothing waits.
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
# Nothing longer waits.
_JOINED_BYTES = 16 * 1024
# So many messages at most wait in a lane.
_MOST = 64

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Whose data waits: it is told when it was written. `is_waiting` is its lane's to set."""

    is_waiting: bool

    def sent(self, at_s: float) -> None: ...


class Outbox:
    """`open` is how many clients wait for an answer; those who serve them keep it current."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.open = 0
        self.is_due = False
        self.first = Lane(self, monotonic_s)
        self.last = Lane(self, monotonic_s)

    def await_end_of_round(self) -> None:
        self.is_due = True
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self.is_due = False
        self.first.flush()
        self.last.flush()


class Lane:
    """What is written on a transport through one lane keeps its order."""

    __slots__ = ("_monotonic_s", "_outbox", "_waiting")

    def __init__(self, outbox: Outbox, monotonic_s: Callable[[], float]) -> None:
        self._outbox = outbox
        self._monotonic_s = monotonic_s
        self._waiting: deque[tuple[asyncio.Transport, bytes, Sender | None]] = deque()

    def write(
        self, transport: asyncio.Transport, data: bytes, sender: Sender | None = None
    ) -> None:
        """Write it now or at the end of this round."""
        outbox = self._outbox
        if not outbox.is_due:
            if outbox.open < _SEVERAL:
                transport.write(data)
                return
            outbox.await_end_of_round()
        waiting = self._waiting
        if len(data) > _JOINED_BYTES:
            # Production's, too: a long copy is not to be in its way.
            outbox.flush()
            transport.write(data)
            return
        waiting.append((transport, data, sender))
        if sender is not None:
            sender.is_waiting = True
        if len(waiting) >= _MOST:
            self.flush()

    def write_message(
        self, transport: asyncio.Transport, head: bytes, body: bytes, sender: Sender | None = None
    ) -> None:
        """The same, for a head and a body of any length."""
        if len(body) <= _JOINED_BYTES:
            self.write(transport, head + body, sender)
        else:
            self._outbox.flush()
            transport.writelines((head, body))

    def flush(self) -> None:
        """Write what waits. What is written to a transport that is closing by now goes nowhere."""
        waiting = self._waiting
        if not waiting:
            return
        now_s = self._monotonic_s()
        while waiting:
            transport, data, sender = waiting.popleft()
            if transport.is_closing():
                continue
            try:
                transport.write(data)
                if sender is not None:
                    sender.sent(now_s)
            except Exception:
                # The others' data is to be written all the same.
                log.exception("a write failed")
