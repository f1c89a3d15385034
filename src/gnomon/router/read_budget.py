"""Bounds how fast the answers of shadows are read, by not reading.

A token bucket for the whole router: the connection that finds it empty stops reading until it has
filled up again; the kernel then slows the shadow down.
"""

from __future__ import annotations

import asyncio

from gnomon.model.clock import Clock
from gnomon.router.upstream import UpstreamConnection

# What may come at once, as time (s) at the full rate.
_BURST_S = 0.05


class ReadBudget:
    """`is_spent` while connections are held."""

    def __init__(self, bytes_per_s: int, clock: Clock) -> None:
        self._rate = bytes_per_s
        self._burst = bytes_per_s * _BURST_S
        self._left = self._burst
        self._filled_at_s = clock.monotonic_s()
        self._clock = clock
        self._held: set[UpstreamConnection] = set()

    @property
    def is_spent(self) -> bool:
        return bool(self._held)

    def read(self, connection: UpstreamConnection, count: int) -> None:
        """That many bytes came over the connection."""
        self._left -= count
        if self._left >= 0:
            return
        self._fill()
        if self._left < 0:
            connection.hold_reading()
            if not self._held:
                self._wait()
            self._held.add(connection)

    def _fill(self) -> None:
        now_s = self._clock.monotonic_s()
        self._left = min(self._burst, self._left + (now_s - self._filled_at_s) * self._rate)
        self._filled_at_s = now_s

    def _wait(self) -> None:
        asyncio.get_running_loop().call_later(-self._left / self._rate, self._go_on)

    def _go_on(self) -> None:
        self._fill()
        if self._left < 0:
            self._wait()
            return
        held, self._held = self._held, set()
        for connection in held:
            connection.go_on_reading()
