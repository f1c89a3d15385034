"""Constant traffic over plain sockets, with which every failure can be laid at one moment's door.

Each request is numbered, and its number is its body. It is *in flight* from its first byte sent to
its answer's last byte read. As a good HTTP client does, a connection that the server has closed is
noticed before anything is sent on it; nothing is ever sent twice.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

# Longer than any time limit of Gnomon's: a request that lasts so long has been forgotten.
_PATIENCE_S = 90.0


@dataclass
class Flight:
    """One request; times are monotonic seconds. `failure` says what came instead of a 200."""

    number: int
    began_s: float
    ended_s: float | None = None
    failure: str = ""

    def was_open(self, from_s: float, to_s: float) -> bool:
        """Whether it was in flight at any moment between these."""
        return self.began_s <= to_s and (self.ended_s is None or self.ended_s >= from_s)


class RawTraffic:
    """Requests at a constant rate (in requests/s) from several threads, until the block ends.

    The first half of the threads keep their connections, the others open one for each request.
    `late` counts requests that began over 50 ms after their time: the machine was too busy for
    the rate.
    """

    def __init__(self, port: int, endpoint: str, rate: float, threads: int = 6) -> None:
        self._port = port
        self._path = f"/endpoints/{endpoint}/invocations"
        self._interval_s = threads / rate
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.flights: list[Flight] = []
        self.late = 0
        self._threads = [
            threading.Thread(target=self._run, args=(slot, slot < threads // 2, threads))
            for slot in range(threads)
        ]

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[Flight]:
        return [flight for flight in list(self.flights) if flight.failure]

    @property
    def answered(self) -> list[Flight]:
        flights = list(self.flights)
        return [f for f in flights if f.ended_s is not None and not f.failure]

    def _run(self, slot: int, keeps: bool, threads: int) -> None:
        connection: socket.socket | None = None
        due_s = self._began_s + slot * self._interval_s / threads
        while not self._ending.wait(max(0.0, due_s - time.monotonic())):
            if time.monotonic() - due_s > 0.05:
                # What could not be sent in time is not made up for: the rate stays constant.
                due_s = time.monotonic()
                with self._lock:
                    self.late += 1
            due_s += self._interval_s
            connection = self._ask(connection)
            if connection is not None and not keeps:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: socket.socket | None) -> socket.socket | None:
        """One request; the connection if it can be used again."""
        flight = self._begin()
        try:
            # Looked at after the moment that counts: else one that died between the two would look
            # as if the request had come later.
            while connection is None or _is_closed(connection):
                connection = self._connect(connection)
                flight.began_s = time.monotonic()
            body = f"{flight.number}\n".encode()
            head = (
                f"POST {self._path} HTTP/1.1\r\nHost: gnomon\r\nContent-Type: text/csv\r\n"
                f"Content-Length: {len(body)}\r\nX-Amzn-SageMaker-Inference-Id: {flight.number}"
                "\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            answer_head, answer = _read_answer(connection)
        except OSError as error:
            flight.failure = repr(error)
            flight.ended_s = time.monotonic()
            if connection is not None:
                connection.close()
            return None
        flight.ended_s = time.monotonic()
        if not answer_head.startswith(b"HTTP/1.1 200 "):
            flight.failure = (answer_head.split(b"\r\n")[0] + b" " + answer).decode()
        elif answer.strip() != body.strip():
            flight.failure = f"another request's answer: {answer!r}"
        if b"connection: close" in answer_head.lower():
            connection.close()
            return None
        return connection

    def _begin(self) -> Flight:
        with self._lock:
            flight = Flight(next(self._numbers), time.monotonic())
            self.flights.append(flight)
        return flight

    def _connect(self, former: socket.socket | None) -> socket.socket:
        if former is not None:
            former.close()
        connection = socket.create_connection(("127.0.0.1", self._port), _PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended it; it has nothing to say while no request is open."""
    return bool(select.select([connection], [], [], 0)[0])


def _read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += _receive(connection)
    return head, body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("closed before the answer was complete")
    return data
