"""Where Gnomon listens: on loopback only, by sockets that the supervisor owns.

The routers' socket listens here, and every router accepts from it: a router's death resets no
waiting connection. Control's port is only reserved here. Control listens on it by itself, so that
its port refuses at once while it is away, instead of letting requests wait for its return. What
routers pass on reaches it by a Unix socket, which needs no TLS.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from gnomon.cli.running import Running
from gnomon.errors import SettingsError
from gnomon.model.socket_name import short_name
from gnomon.settings import ServerSettings

_BACKLOG = 1024


class CannotListen(SettingsError):
    """An address that cannot be had; `holder` is the Gnomon that has it, if it is one."""

    def __init__(
        self, host: str, port: int, option: str, reason: str, holder: Running | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.option = option
        self.reason = reason
        said, mend = f"{reason}.", "Name"
        if holder is not None:
            said = f"the Gnomon on {holder.data_dir} (process {holder.pid}) does."
            mend = f"End it with `gnomon down --data-dir {holder.data_dir}`, or name"
        super().__init__(
            f"Gnomon cannot listen on {host}:{port}: {said} {mend} another port with --{option} "
            "(0 takes any that is free)."
        )

    def held_by(self, holder: Running | None) -> CannotListen:
        """The same, with the name of whoever has the address."""
        return CannotListen(self.host, self.port, self.option, self.reason, holder)


def refuse_beyond_loopback(host: str) -> None:
    """Raises SettingsError for an address that other machines could reach."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"Gnomon listens on loopback only, since it has no authentication yet: use "
            f"127.0.0.1 instead of {host}."
        )


def open_sockets(
    server: ServerSettings, taken: socket.socket | None = None
) -> tuple[socket.socket, socket.socket]:
    """The routers' socket, which listens, and one that reserves control's port.

    `taken` is the routers' socket of a former life. CannotListen if a port cannot be had.
    """
    routers = taken or _bind(server.host, server.port, "port")
    try:
        if taken is None:
            _listen(routers, "port")
        return routers, _bind(server.host, server.control_port, "control-port")
    except SettingsError:
        routers.close()
        raise


def control_socket(server: ServerSettings) -> socket.socket:
    """Control's own socket on the port that the supervisor reserves.

    Both have SO_REUSEADDR, so that they may be bound to one port as long as the reserving one does
    not listen; only a listening socket gets connections.
    """
    return _bind(server.host, server.control_port, "control-port")


def passing_socket(path: Path) -> socket.socket:
    """Where control takes what routers pass on; only this user may connect."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.setblocking(False)
    mask = os.umask(0o177)
    try:
        with short_name(path) as name:
            bound.bind(name)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound


def url(host: str, port: int, *, has_tls: bool = False) -> str:
    """The URL of a listener; an IPv6 address goes into brackets (RFC 3986, 3.2.2)."""
    scheme = "https" if has_tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(host: str, port: int, option: str) -> socket.socket:
    # The protocol is named for asyncio: only then it has accepted connections send at once
    # (TCP_NODELAY). Else an answer's body waits 40 ms for the client to acknowledge its head.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise CannotListen(host, port, option, error.strerror or str(error)) from error
    return bound


def _listen(bound: socket.socket, option: str) -> None:
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise CannotListen(host, port, option, error.strerror or str(error)) from error
