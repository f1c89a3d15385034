"""Connections: a thread for each, up to a bound, and an end that loses no request.

A thread each, because handlers block and numeric libraries let go of the interpreter's lock while
they compute. Requests are read by `wire.py` and answered by a function that is handed in.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
import time
from typing import Any, Callable, Iterable, Iterator, Set

from .wire import MalformedRequest, PartsBroken, Request, RequestReader, Response

# Requests that are worked on at once, others wait: as many as a router of Gnomon opens connections
# to one instance. A ping needs no slot, or an instance under full load would look dead.
MAX_AT_WORK = 512

# Further connections wait in the backlog: room for several routers' and for pings beside them. A
# connection without a slot costs a sleeping thread and at most one head.
MAX_CONNECTIONS = 4096

# An idle connection is kept this long. Gnomon's host tells routers a shorter time.
IDLE_TIME_LIMIT_S = 75.0

# While draining, nothing more is expected when for this long no request was open and no byte
# waited: far above the gap between two packets of one request.
DRAIN_QUIET_S = 0.5

# A drain ends at the latest after this: before the SIGKILL that follows a SIGTERM after 30 s.
DRAIN_TIME_LIMIT_S = 25.0

_DRAIN_POLL_S = 0.02

# How soon an accept loop that waits for a free connection sees that a drain began.
_PLACE_POLL_S = 0.1

# Running out of descriptors or threads passes; meanwhile the loop must not spin.
_ACCEPT_PAUSE_S = 0.1

# What a client sent after a malformed request is read away for this long, or it might not see the
# answer.
_LINGER_S = 1.0


class Server:
    """Serves one listening socket."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._listener = listener
        self._answer = answer
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        self._slots = threading.Semaphore(MAX_AT_WORK)
        self._lock = threading.Lock()
        self._connections: Set[socket.socket] = set()
        self._busy = 0
        self._last_busy_s = time.monotonic()
        self._is_draining = False
        self._woken, self._wake = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept, name="accept", daemon=True)

    def start(self) -> None:
        """Accept connections in threads from now on."""
        self._accepting.start()

    def drain(self) -> None:
        """Answer what has been received, then return; then the process should end.

        What waits in the backlog is accepted, then nothing more. Each answer closes its connection.
        """
        began_s = self._last_busy_s = time.monotonic()
        self._is_draining = True
        self._wake.close()
        self._accepting.join(DRAIN_TIME_LIMIT_S)
        while time.monotonic() - began_s < DRAIN_TIME_LIMIT_S:
            with self._lock:
                if self._busy or _is_any_readable(self._connections):
                    self._last_busy_s = time.monotonic()
                elif time.monotonic() - self._last_busy_s >= DRAIN_QUIET_S:
                    return
            time.sleep(_DRAIN_POLL_S)

    def _accept(self) -> None:
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector, self._listener, self._woken:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._is_draining:
                selector.select()
                self._accept_waiting()
            self._accept_waiting()

    def _accept_waiting(self) -> None:
        while True:
            # A drain takes what waits above the bound too, since idle connections fill it.
            while not self._places.acquire(timeout=_PLACE_POLL_S) and not self._is_draining:
                pass
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                self._places.release()
                return
            except OSError:
                self._places.release()
                time.sleep(_ACCEPT_PAUSE_S)
                continue
            with self._lock:
                self._connections.add(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:
                self._forget(connection)
                time.sleep(_ACCEPT_PAUSE_S)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                connection.settimeout(IDLE_TIME_LIMIT_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve_requests(connection)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()
        self._places.release()

    def _serve_requests(self, connection: socket.socket) -> None:
        reader = RequestReader(connection)
        keep_alive = True
        while keep_alive and reader.wait():
            with self._counted():
                try:
                    request = reader.read_head()
                    with contextlib.nullcontext() if _is_ping(request) else self._slots:
                        # In the slot too, so that slots bound what bodies hold in memory.
                        reader.read_body(request)
                        response = self._answer(request)
                        keep_alive = request.keep_alive and not self._is_draining
                        if response.parts is None:
                            connection.sendall(response.encode(keep_alive))
                        else:
                            keep_alive = keep_alive and request.takes_chunks
                            _send_parts(connection, response, keep_alive, request.takes_chunks)
                except MalformedRequest as error:
                    said = Response(error.status, (str(error) + "\n").encode(), "text/plain")
                    connection.sendall(said.encode(keep_alive=False))
                    _linger(connection)
                    return

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._last_busy_s = time.monotonic()


def _send_parts(
    connection: socket.socket, response: Response, keep_alive: bool, in_chunks: bool
) -> None:
    pieces = response.encode_in_parts(keep_alive, in_chunks)
    try:
        for piece in pieces:
            connection.sendall(piece)
    except PartsBroken:
        # No end of the body: its reader sees that it is not whole.
        raise ConnectionAbortedError from None
    finally:
        parts: Any = response.parts
        parts.close()


def _is_ping(request: Request) -> bool:
    return request.path == "/ping" and not request.announces_body


def _is_any_readable(connections: Iterable[socket.socket]) -> bool:
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _linger(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_LINGER_S)
    deadline_s = time.monotonic() + _LINGER_S
    while time.monotonic() < deadline_s and connection.recv(65536):
        pass
