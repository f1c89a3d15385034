"""When a router that says nothing any more is given up. Pure, but for the pipe's end."""

from __future__ import annotations

import os

# A router writes a byte so often, in seconds.
BEAT_INTERVAL_S = 1.0
# Silence for so long, in seconds, means that its loop hangs and answers nobody.
SILENCE_LIMIT_S = 10.0
# What it has to come up and beat for the first time, in seconds.
START_LIMIT_S = 60.0


class Heartbeat:
    """A router's beats as the supervisor hears them; owns the pipe's read end.

    Times are monotonic seconds. Silence is counted only while the supervisor itself was awake: one
    that was stopped, or a machine that slept, has heard nothing of anybody.
    """

    def __init__(self, descriptor: int, now_s: float) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._looked_s = now_s
        self._silent_s = 0.0
        self._has_beaten = False

    def is_silent(self, now_s: float) -> bool:
        """Whether it has been silent for too long; asked about once a second."""
        awake_s = min(now_s - self._looked_s, 2 * BEAT_INTERVAL_S)
        self._looked_s = now_s
        if self._heard():
            self._silent_s = 0.0
            self._has_beaten = True
        else:
            self._silent_s += awake_s
        return self._silent_s > (SILENCE_LIMIT_S if self._has_beaten else START_LIMIT_S)

    def close(self) -> None:
        os.close(self._descriptor)

    def _heard(self) -> bool:
        try:
            return bool(os.read(self._descriptor, 65536))
        except BlockingIOError:
            return False
