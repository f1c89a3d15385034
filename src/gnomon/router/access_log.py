"""A share of the requests as structured lines in the router's log, off the request path.

A request costs a note; once a second a thread makes lines of the notes. When they come faster than
that, the rest is counted and not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from gnomon.model.clock import Clock
from gnomon.router.request import Request

# What is written in a second at most (lines): about a tenth of a core.
_MOST = 2000
# A path may be anything; a log line is to stay one.
_SHOWN_URL_CHARS = 200
_SHOWN = {
    b"x-amzn-requestid": "request_id",
    b"x-amzn-invoked-production-variant": "variant",
    b"x-gnomon-instance": "instance",
    b"x-amzn-errortype": "error",
}

log = structlog.get_logger(__name__)


class _Note(NamedTuple):
    at_s: float
    method: bytes
    url: bytes
    request_bytes: int
    head: bytes
    answer_bytes: int
    took_s: float
    ended: str


class AccessLog:
    """`share` (0 to 1) of the requests are noted, by `draw`."""

    def __init__(self, share: float, draw: Callable[[], float], clock: Clock) -> None:
        self._share = share
        self._draw = draw
        self._clock = clock
        self._notes: list[_Note] = []
        self._passed_over = 0
        self._writing: asyncio.Task[None] | None = None

    def note(
        self,
        request: Request,
        head: bytes,
        answer_bytes: int,
        began_s: float,
        ended: str = "",
    ) -> None:
        """An answer with that head was written, or, with none, the client left before it was.

        `ended` says why the client did not get all of it.
        """
        if self._draw() >= self._share:
            return
        if len(self._notes) >= _MOST:
            self._passed_over += 1
            return
        self._notes.append(
            _Note(
                self._clock.now_s(),
                request.method,
                request.url,
                len(request.body),
                head,
                answer_bytes,
                self._clock.monotonic_s() - began_s,
                ended,
            )
        )

    def flush(self) -> None:
        """Write what was noted, in a thread; to be called each second."""
        if not self._notes or (self._writing is not None and not self._writing.done()):
            return
        notes, self._notes = self._notes, []
        passed_over, self._passed_over = self._passed_over, 0
        self._writing = asyncio.get_running_loop().create_task(
            asyncio.to_thread(_write, notes, passed_over)
        )

    async def end(self) -> None:
        """Write the rest."""
        if self._writing is not None:
            await self._writing
        self.flush()
        if self._writing is not None:
            await self._writing


def _write(notes: list[_Note], passed_over: int) -> None:
    for note in notes:
        log.info("request", **_line(note))
    if passed_over:
        log.warning("requests were not logged", count=passed_over)


def _line(note: _Note) -> dict[str, object]:
    """Pure."""
    first, *lines = note.head.split(b"\r\n")
    status = first.split(b" ")[1:2]
    fields: dict[str, object] = {
        "at_s": round(note.at_s, 3),
        "method": note.method.decode("latin-1"),
        "url": note.url[:_SHOWN_URL_CHARS].decode("latin-1"),
        # 0: the client left before there was an answer.
        "status": int(status[0]) if status else 0,
        "request_bytes": note.request_bytes,
        "answer_bytes": note.answer_bytes,
        "took_ms": round(note.took_s * 1000, 3),
    }
    if note.ended:
        fields["ended"] = note.ended
    for line in lines:
        name, _, value = line.partition(b":")
        shown = _SHOWN.get(name.lower())
        if shown is not None:
            fields[shown] = value.strip().decode("latin-1")
    return fields
