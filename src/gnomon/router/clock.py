"""The machine's clocks, as a router reads them several times a request."""

from __future__ import annotations

import time


class MachineClock:
    """A `gnomon.model.clock.Clock`: the interpreter's own functions, without a call around them."""

    now_s = staticmethod(time.time)
    monotonic_s = staticmethod(time.perf_counter)
