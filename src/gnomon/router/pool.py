"""The connections to one server for one purpose: kept alive, reused, bounded, timed.

Production and shadow copies to the same instance use pools of their own, so that neither waits for
the other. A pool connects in tasks (rare); sending and answering need none. Deadlines and idle
connections are looked at by `sweep`, which the router calls periodically.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from gnomon.model.clock import Clock
from gnomon.model.socket_name import short_name
from gnomon.router.call import Call, UpstreamAnswer
from gnomon.router.decide import Failure
from gnomon.router.descriptors import ConnectionBudget
from gnomon.router.outbox import Outbox
from gnomon.router.upstream import UpstreamConnection

# After a failed connect nothing new is tried for so long (s) where a caller asks `backs_off_for`.
_BACK_OFF_S = 0.5
# The server's idle clock began before ours; a request must not cross its closing the connection.
_KEEP_ALIVE_MARGIN = 0.8

# Host and port, or a Unix socket's path.
Address = tuple[str, int] | Path

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`time_limit_s`: for a whole call, from `submit`.

    Where the answer is passed on as it comes, it is for the answer's head; from there on, it is
    `stream_time_limit_s`, without the time for which its `Stream` was held.
    """

    max_connections: int
    max_idle_s: float
    connect_time_limit_s: float
    time_limit_s: float
    max_head_bytes: int
    stream_time_limit_s: float = math.inf


class ReadMeter(Protocol):
    """Is told of all bytes that a pool's connections read, and may hold their reading."""

    def read(self, connection: UpstreamConnection, count: int) -> None: ...


class Pool:
    """Every submitted call ends: answered, or failed for a reason.

    Whoever sweeps it only while it has to be sets `on_use`, which is called when it begins to
    connect: a pool `is_at_rest` until then, and again once it has no connection.
    """

    def __init__(
        self,
        address: Address,
        keep_alive_s: float,
        limits: PoolLimits,
        clock: Clock,
        outbox: Outbox,
        meter: ReadMeter | None = None,
        budget: ConnectionBudget | None = None,
        *,
        sends_copies: bool = False,
    ) -> None:
        self.write = outbox.write_copy if sends_copies else outbox.write_message
        self.meter = meter
        self.on_use: Callable[[], None] | None = None
        self._budget = budget
        # Connections as the budget knows them.
        self._budgeted = 0
        self._address = address
        self._limits = limits
        self._max_idle_s = min(keep_alive_s * _KEEP_ALIVE_MARGIN, limits.max_idle_s)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._connections: set[UpstreamConnection] = set()
        # The longest idle at the left; the last used is used first, so that others can age.
        self._free: deque[UpstreamConnection] = deque()
        # In the order in which their calls were sent.
        self._busy: dict[UpstreamConnection, None] = {}
        # In the order in which their answers began, with the time at which they did.
        self._streaming: dict[UpstreamConnection, float] = {}
        self._waiting: deque[Call] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._backs_off_until_s = 0.0
        self._backs_off_for: Failure = "refused"
        self._is_retired = False

    def submit(self, call: Call) -> None:
        """Send the call, now or when a connection is there."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.may_be_reused(call.submitted_s, self._max_idle_s):
                self._send(connection, call, call.submitted_s)
                return
            connection.close()
        self._waiting.append(call)
        self._connect_for_waiting()

    def backs_off_for(self, now_s: float) -> Failure | None:
        """Why the last connect failed, a moment ago; None if it did not."""
        return self._backs_off_for if now_s < self._backs_off_until_s else None

    @property
    def is_out_of_connections(self) -> bool:
        """Whether another call would need a connection that the budget does not have."""
        return self._budget is not None and not self._free and self._budget.is_spent

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to sweep."""
        return not (self._connections or self._connecting or self._waiting)

    def sweep(self, now_s: float) -> None:
        """Fail the calls that are past their time, close the connections that idled too long."""
        limit_s = self._limits.time_limit_s
        while self._busy:
            connection = next(iter(self._busy))
            call = connection.call
            if call is None:
                del self._busy[connection]
                continue
            if now_s - call.submitted_s < limit_s:
                break
            connection.abort()
            self.failed(connection, call, "deadline")
        self._sweep_streams(now_s)
        while self._waiting and now_s - self._waiting[0].submitted_s >= limit_s:
            self._waiting.popleft().failed("deadline", now_s)
        while self._free and now_s - self._free[0].idle_since_s >= self._max_idle_s:
            self._free.popleft().close()

    def _sweep_streams(self, now_s: float) -> None:
        limit_s = self._limits.stream_time_limit_s
        late: list[UpstreamConnection] = []
        for connection, began_s in self._streaming.items():
            if now_s - began_s < limit_s:
                break
            stream = None if connection.call is None else connection.call.stream
            # What was not read from the model is not the model's time.
            if stream is None or now_s - began_s - stream.held_s(now_s) >= limit_s:
                late.append(connection)
        for connection in late:
            del self._streaming[connection]
            call = connection.call
            if call is not None:
                connection.abort()
                self.failed(connection, call, "deadline")

    def retire(self) -> None:
        """Take no new calls from now on; calls in flight end as they would have."""
        self._is_retired = True
        self._close_free()

    def abort(self) -> None:
        """Break every call off; each fails as `reset`."""
        self.retire()
        now_s = self._clock.monotonic_s()
        for task in self._connecting:
            task.cancel()
        while self._waiting:
            self._waiting.popleft().failed("reset", now_s)
        for connection in [*self._busy, *self._streaming]:
            call = connection.call
            connection.abort()
            if call is not None:
                self.failed(connection, call, "reset")
        self._close_free()

    # --- For the connections ------------------------------------------------------------------

    def now_s(self) -> float:
        return self._clock.monotonic_s()

    def began(self, connection: UpstreamConnection) -> None:
        """The answer has begun, and is passed on as it comes."""
        self._busy.pop(connection, None)
        self._streaming[connection] = self._clock.monotonic_s()

    def answered(self, connection: UpstreamConnection, call: Call, answer: UpstreamAnswer) -> None:
        now_s = self._clock.monotonic_s()
        self._busy.pop(connection, None)
        if call.stream is not None:
            self._streaming.pop(connection, None)
        # Free before the answer is passed on: what the answer sets off can use it.
        if connection.unsent_bytes:
            # Answered before the request was whole: the rest would stand in the next one's way,
            # and a server that reads no more would keep it in memory.
            connection.abort()
        elif connection.is_reusable and not self._is_retired:
            connection.idle_since_s = now_s
            self._free.append(connection)
        else:
            connection.close()
        call.answered(answer, now_s)
        if self._waiting:
            self._serve_waiting()

    def submit_again(self, connection: UpstreamConnection, call: Call) -> None:
        """Its connection was lost before anything was written."""
        self._busy.pop(connection, None)
        # It is older than what waits.
        self._waiting.appendleft(call)
        self._serve_waiting()

    def failed(self, connection: UpstreamConnection, call: Call, failure: Failure) -> None:
        self._busy.pop(connection, None)
        self._streaming.pop(connection, None)
        call.failed(failure, self._clock.monotonic_s())

    def lost(self, connection: UpstreamConnection) -> None:
        self._connections.discard(connection)
        self._tell_budget()
        if connection in self._free:
            self._free.remove(connection)
        self._connect_for_waiting()

    # --- Connecting ---------------------------------------------------------------------------

    def _send(self, connection: UpstreamConnection, call: Call, now_s: float) -> None:
        self._busy[connection] = None
        is_first = not call.sent_s
        call.sent_s = now_s
        connection.send(call)
        if is_first:
            call.sent()

    def _serve_waiting(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._waiting and self._free:
            connection = self._free.pop()
            if connection.may_be_reused(now_s, self._max_idle_s):
                self._send(connection, self._waiting.popleft(), now_s)
            else:
                connection.close()
        self._connect_for_waiting()

    def _connect_for_waiting(self) -> None:
        while (
            len(self._connecting) < len(self._waiting)
            and len(self._connections) + len(self._connecting) < self._limits.max_connections
        ):
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            if self.on_use is not None:
                self.on_use()
            self._tell_budget()

    async def _connect(self) -> None:
        outcome: UpstreamConnection | Failure
        try:
            outcome = await self._open_in_time()
        except TimeoutError:
            outcome = "connect_deadline"
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
            outcome = "refused"
        except OSError as error:
            outcome = "not_connected"
            if self.backs_off_for(self._clock.monotonic_s()) is None:
                log.warning("a connection could not be opened", reason=str(error))
        finally:
            self._connecting.discard(asyncio.current_task())
            self._tell_budget()
        if isinstance(outcome, str):
            self._connect_failed(outcome)
        else:
            self._connected(outcome)

    async def _open_in_time(self) -> UpstreamConnection:
        opening = self._loop.create_task(self._open())
        try:
            # In two halves: where this process was held up for longer than the limit, what is
            # ready is still seen in the second.
            for _ in range(2):
                done, _ = await asyncio.wait(
                    (opening,), timeout=self._limits.connect_time_limit_s / 2
                )
                if done:
                    return opening.result()
        finally:
            opening.cancel()
        raise TimeoutError

    async def _open(self) -> UpstreamConnection:
        def make() -> UpstreamConnection:
            return UpstreamConnection(self, self._limits.max_head_bytes)

        if isinstance(self._address, Path):
            with short_name(self._address) as name:
                _, connection = await self._loop.create_unix_connection(make, name)
        else:
            _, connection = await self._loop.create_connection(make, *self._address)
        return connection

    def _connected(self, connection: UpstreamConnection) -> None:
        now_s = self._clock.monotonic_s()
        self._backs_off_until_s = 0.0
        if not connection.is_reusable:
            # Lost before it was used: who accepts so would be tried without end.
            self._connect_failed("refused")
            return
        self._connections.add(connection)
        self._tell_budget()
        if self._waiting:
            self._send(connection, self._waiting.popleft(), now_s)
        elif self._is_retired:
            connection.close()
        else:
            connection.idle_since_s = now_s
            self._free.append(connection)

    def _connect_failed(self, failure: Failure) -> None:
        now_s = self._clock.monotonic_s()
        self._backs_off_until_s = now_s + _BACK_OFF_S
        self._backs_off_for = failure
        if not self._waiting:
            return
        # One connect stood for one call; without any connection left nothing else can serve them.
        self._waiting.popleft().failed(failure, now_s)
        if not self._connections and not self._connecting:
            for _ in range(len(self._waiting)):
                self._waiting.popleft().failed(failure, now_s)

    def _tell_budget(self) -> None:
        if self._budget is not None:
            count = len(self._connections) + len(self._connecting)
            self._budget.open += count - self._budgeted
            self._budgeted = count

    def _close_free(self) -> None:
        while self._free:
            self._free.popleft().close()
