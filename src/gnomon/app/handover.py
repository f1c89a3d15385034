"""How a listening socket outlives the supervisor that opened it.

Each router offers its copy over a Unix socket in the data directory; a new supervisor takes it from
whichever router is left, and starts routers of its own on it. So no connection is refused while one
Gnomon follows another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

# A router answers as soon as its loop comes round (s); one that hangs is passed over.
_PATIENCE_S = 5.0
# struct ucred of unix(7).
_CREDENTIALS = struct.Struct("3i")

_LOG = structlog.get_logger(__name__)


class Offer:
    """A router's side. `serve` is for when `fileno` is readable; it never waits."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self._listener = listener
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        # The place is this router's now: one that was here before is dead or on its way out.
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen()

    def fileno(self) -> int:
        return self._socket.fileno()

    def serve(self) -> None:
        """Hand the listening socket to whoever asks, if it is the same user."""
        try:
            asking, _ = self._socket.accept()
        except OSError:
            return
        with asking, contextlib.suppress(OSError):
            if _user_of(asking) in {os.geteuid(), 0}:
                socket.send_fds(asking, [b"1"], [self._listener.fileno()])

    def close(self) -> None:
        """Offer it no more. The path is left: a successor may have bound it anew."""
        self._socket.close()


def take(paths: Iterable[Path], host: str, port: int) -> socket.socket | None:
    """A listening socket on this address (port 0: any) from the first router that offers one."""
    for path in paths:
        for taken in _taken(path):
            if _listens_on(taken, host, port):
                return taken
            address = ":".join(map(str, taken.getsockname()[:2]))
            _LOG.info("a former life listens elsewhere", address=address)
            taken.close()
    return None


def _taken(path: Path) -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_PATIENCE_S)
            asking.connect(str(path))
            _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
    except OSError as error:
        _LOG.info("a router offers no socket", path=str(path), reason=str(error))
        return
    for descriptor in descriptors:
        taken = socket.socket(fileno=descriptor)
        taken.setblocking(False)
        yield taken


def _listens_on(taken: socket.socket, host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if taken.family != family or not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    found_host, found_port = taken.getsockname()[:2]
    wanted_host = socket.getaddrinfo(host, None, family)[0][4][0]
    return found_host == wanted_host and port in {0, found_port}


def _user_of(asking: socket.socket) -> int:
    packed = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])
