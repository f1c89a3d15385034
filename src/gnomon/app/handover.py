"""How a listening socket outlives the supervisor that opened it.

Each router offers its copy over a Unix socket in the data directory; a new supervisor takes it from
whichever router is left, and starts routers of its own on it. So no connection is refused while one
Gnomon follows another. Every router that is left learns it: as long as the supervisor keeps the
connection on which it asked, others accept from the socket, and a router that ends need not accept
what waits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from gnomon.model.socket_name import short_name

# A router answers as soon as its loop comes round (s); one that hangs is passed over.
_PATIENCE_S = 5.0
# struct ucred of unix(7).
_CREDENTIALS = struct.Struct("3i")

_LOG = structlog.get_logger(__name__)


class Offer:
    """A router's side. `serve` is for when `fileno` is readable; it never waits.

    Raises OSError if the path cannot be had: a router serves without it all the same.
    """

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self._path = path
        self._listener = listener
        self._takers: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        try:
            # Whose process id this was before is dead.
            path.unlink(missing_ok=True)
            with short_name(path) as name:
                self._socket.bind(name)
            path.chmod(0o600)
            self._socket.listen()
        except OSError:
            self._socket.close()
            raise

    @property
    def is_taken(self) -> bool:
        """Whether a next life accepts from the listening socket, too."""
        for taker in [taker for taker in self._takers if _has_ended(taker)]:
            self._takers.remove(taker)
            taker.close()
        return bool(self._takers)

    def fileno(self) -> int:
        return self._socket.fileno()

    def serve(self) -> None:
        """Hand the listening socket to whoever asks, if it is the same user."""
        try:
            asking, _ = self._socket.accept()
        except OSError:
            return
        asking.setblocking(False)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(asking)
            if _user_of(asking) in {os.geteuid(), 0}:
                socket.send_fds(asking, [b"1"], [self._listener.fileno()])
                stack.pop_all()
                self._takers.append(asking)

    def close(self) -> None:
        """Offer it no more."""
        for taker in self._takers:
            taker.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Taken:
    """A former life's listening socket; its routers know of it as long as `leases` are open."""

    listener: socket.socket
    leases: tuple[socket.socket, ...]

    def release(self) -> None:
        """Those routers have ended."""
        for lease in self.leases:
            lease.close()


def take(paths: Iterable[Path], host: str, port: int) -> Taken | None:
    """The listening socket on this address (port 0: any) of the routers that offer one."""
    listeners: list[socket.socket] = []
    leases: list[socket.socket] = []
    for path in paths:
        offered = _ask(path)
        if offered is None:
            continue
        listener, lease = offered
        if _listens_on(listener, host, port):
            listeners.append(listener)
            leases.append(lease)
            continue
        address = ":".join(map(str, listener.getsockname()[:2]))
        _LOG.info("a former life listens elsewhere", address=address)
        listener.close()
        lease.close()
    # One socket, by as many descriptors as there are routers.
    for listener in listeners[1:]:
        listener.close()
    return Taken(listeners[0], tuple(leases)) if listeners else None


def _ask(path: Path) -> tuple[socket.socket, socket.socket] | None:
    """What the router behind the path offers, and the connection that it was asked on."""
    asking = socket.socket(socket.AF_UNIX)
    asking.settimeout(_PATIENCE_S)
    descriptors: list[int] = []
    try:
        with short_name(path) as name:
            asking.connect(name)
        _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
    except OSError as error:
        _LOG.info("a router offers no socket", path=str(path), reason=str(error))
    if not descriptors:
        asking.close()
        return None
    # One that is received outlives exec unless it is told not to: `gnomon restart` would leave the
    # port open behind everybody's back.
    os.set_inheritable(descriptors[0], False)
    listener = socket.socket(fileno=descriptors[0])
    listener.setblocking(False)
    return listener, asking


def _has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


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
