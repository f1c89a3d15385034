"""Ports for foreign commands, which bind for themselves.

They lie below the ephemeral range, so that no outgoing connection takes one between the choice and
the command's own bind, and each rests before it is used again, so that a router that still knows
the old address does not reach a stranger.
"""

import socket
from collections.abc import Callable, Iterable


class PortPool:
    """Hands out ports. `is_free` and `clock` (seconds, monotonic) are handed in."""

    def __init__(
        self,
        ports: Iterable[int],
        rest_s: float,
        clock: Callable[[], float],
        is_free: Callable[[int], bool],
    ) -> None:
        self._ports = tuple(ports)
        self._rest_s = rest_s
        self._clock = clock
        self._is_free = is_free
        self._next = 0
        self._taken: set[int] = set()
        self._rests_until_s: dict[int, float] = {}

    def take(self) -> int | None:
        """A port that nobody has, or None."""
        now_s = self._clock()
        for step in range(len(self._ports)):
            index = (self._next + step) % len(self._ports)
            port = self._ports[index]
            if port in self._taken or self._rests_until_s.get(port, now_s) > now_s:
                continue
            if self._is_free(port):
                self._next = index + 1
                self._taken.add(port)
                return port
        return None

    def reserve(self, port: int) -> None:
        """Mark a port as taken by an instance that runs already."""
        self._taken.add(port)

    def release(self, port: int) -> None:
        """Give a port back; it rests first."""
        self._taken.discard(port)
        self._rests_until_s[port] = self._clock() + self._rest_s


def can_bind(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
