"""Bytes through the router's two parsers without sockets, for fuzzing: what came out of what.

Whatever goes in, the same must come out however it is cut into pieces, and nothing is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from gnomon.router.call import Call, Source, UpstreamAnswer
from gnomon.router.decide import Failure
from gnomon.router.intake import Intake
from gnomon.router.outbox import Outbox
from gnomon.router.pool import Pool
from gnomon.router.upstream import UpstreamConnection
from gnomon.settings import RouterSettings

# A head over it is refused whole or in pieces, but not at the same byte: fuzzing stays below.
MAX_INPUT_BYTES = 32 * 1024


@dataclass(frozen=True)
class Taken:
    """A request as it would be served."""

    method: bytes
    url: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def take(pieces: Iterable[bytes]) -> tuple[list[Taken], int | None]:
    """The requests that a client's bytes are, and the status of the refusal that ends them."""
    intake = Intake(RouterSettings())
    for piece in pieces:
        intake.feed(piece)
    taken = [Taken(r.method, r.url, tuple(r.headers), r.body) for r in intake.requests]
    return taken, None if intake.refusal is None else intake.refusal.status


@dataclass(frozen=True)
class Read:
    """How a call ended: an answer, or a failure; None: not yet."""

    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    failure: Failure | None = None
    is_reusable: bool = False


def read(pieces: Iterable[bytes], *, ends: bool, is_streamed: bool = False) -> Read:
    """What a server's bytes are to the call that waits for them, `ends`: and then it closes."""
    pool = _Pool()
    connection = UpstreamConnection(cast("Pool", pool), RouterSettings().max_head_bytes)
    transport = _Transport()
    connection.connection_made(transport)
    call = _Call(is_streamed=is_streamed)
    connection.send(call)
    for piece in pieces:
        if transport.is_aborted:
            break
        connection.data_received(piece)
    if ends and not transport.is_aborted:
        connection.eof_received()
    if ends or transport.is_aborted:
        connection.connection_lost(None)
    if call.ends > 1:
        raise AssertionError("a call ended more than once")
    if call.answer is None:
        return Read(failure=call.failure)
    body = call.streamed + call.answer.body
    headers = tuple(call.answer.headers)
    return Read(call.answer.status, headers, body, None, connection.is_reusable)


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Pool:
    """As much of a pool as a connection knows."""

    meter = None

    def __init__(self) -> None:
        self.write = Outbox(self.now_s).write_message

    def now_s(self) -> float:
        return 0.0

    def began(self, connection: UpstreamConnection) -> None:
        pass

    def answered(self, _: UpstreamConnection, call: Call, answer: UpstreamAnswer) -> None:
        call.answered(answer, 0.0)

    def failed(self, _: UpstreamConnection, call: Call, failure: Failure) -> None:
        call.failed(failure, 0.0)

    def lost(self, connection: UpstreamConnection) -> None:
        pass


class _Call(Call):
    def __init__(self, *, is_streamed: bool) -> None:
        super().__init__(b"", b"", 0.0)
        self.answer: UpstreamAnswer | None = None
        self.failure: Failure | None = None
        self.streamed = b""
        self.ends = 0
        if is_streamed:
            self.stream = self

    def began(self, _source: Source, _answer: UpstreamAnswer) -> None:
        if self.streamed or self.ends:
            raise AssertionError("an answer began late")

    def came(self, parts: list[bytes], _at_s: float) -> bool:
        self.streamed += b"".join(parts)
        return True

    def held_s(self, _now_s: float) -> float:
        return 0.0

    def answered(self, answer: UpstreamAnswer, _at_s: float, /) -> None:
        self.answer = answer
        self.ends += 1

    def failed(self, failure: Failure, _at_s: float, /) -> None:
        self.failure = failure
        self.ends += 1
