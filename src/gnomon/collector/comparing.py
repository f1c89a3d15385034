"""The child process in which a user's comparator runs; its counterpart is `comparator`.

Frames of a length and msgpack on its standard input, a socket: once the function is loaded, and
then one answer for each pair, until the socket ends. What the function prints goes to the log.
"""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.stats.differences import MORE_PATHS, MOST_PATHS, cut, joinable

LENGTH = struct.Struct(">I")


class Answer(msgspec.Struct, frozen=True):
    """What a user's function is given of each variant."""

    status: int
    content_type: str | None
    body: bytes


class Said(msgspec.Struct, frozen=True):
    """How far apart the answers are by path; empty for the same. `failed` says what was raised."""

    distances: dict[str, float] = {}
    failed: str = ""


# Characters of what was raised: it may hold a whole answer.
_MOST_SAID = 300

Function = Callable[[Answer, Answer], Any]


def load(file: str, name: str) -> Function:
    """The function of that name; whatever the file raises."""
    spec = importlib.util.spec_from_file_location("gnomon_users_comparator", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Function = getattr(module, name)
    return function


def said(function: Function, production: Answer, shadow: Answer) -> Said:
    """What the function says of a pair."""
    try:
        found = function(production, shadow)
        if isinstance(found, dict):
            return Said(_distances(found))
        return Said() if found else Said({"": 1.0})
    except Exception as error:  # noqa: BLE001 - a pair ends here
        return Said(failed=_raised(error))


def _distances(found: dict[Any, Any]) -> dict[str, float]:
    """Within the bounds that Gnomon's own paths have; ValueError."""
    distances: dict[str, float] = {}
    for given, value in found.items():
        path, distance = cut(joinable(str(given))), float(value)
        if not math.isfinite(distance):
            raise ValueError(f"the distance at {path} is {distance}, and is to be a finite number")
        if path not in distances and len(distances) >= MOST_PATHS:
            path = MORE_PATHS
        distances[path] = max(distance, distances.get(path, distance))
    return distances


def _raised(error: Exception) -> str:
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an error of anybody's may fail to say what it is
        said = type(error).__name__
    return joinable(said[:_MOST_SAID])


def receive(connection: socket.socket) -> bytes:
    """One frame; EOFError where the other side is gone."""
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    return _exactly(connection, length)


def send(connection: socket.socket, value: object) -> None:
    data = msgspec.msgpack.encode(value)
    connection.sendall(LENGTH.pack(len(data)) + data)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        if not (part := connection.recv(count - len(data))):
            raise EOFError
        data += part
    return bytes(data)


def main() -> None:
    with socket.socket(fileno=os.dup(0)) as connection:
        os.dup2(nothing := os.open(os.devnull, os.O_RDONLY), 0)
        os.close(nothing)
        os.dup2(2, 1)
        try:
            function = load(*sys.argv[1:])
        except Exception as error:  # noqa: BLE001 - anybody's file
            send(connection, Said(failed=_raised(error)))
            return
        send(connection, Said())
        while True:
            try:
                pair = msgspec.msgpack.decode(receive(connection), type=tuple[Answer, Answer])
                send(connection, said(function, *pair))
            except (EOFError, OSError):
                return


if __name__ == "__main__":
    main()
