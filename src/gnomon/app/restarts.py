"""When a process that died is started again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# Deaths within this span count together, in seconds.
WINDOW_S = 10.0
MAX_DELAY_S = 5.0
# Up to this many deaths in the window are forgiven at once.
FREE_DEATHS = 2


def restart_delay_s(deaths: Sequence[float]) -> float:
    """Seconds to wait, from the times of the deaths so far (the last one is the newest).

    At once for the first two within ten seconds, then doubling from half a second up to five.
    """
    recent = sum(deaths[-1] - death <= WINDOW_S for death in deaths)
    if recent <= FREE_DEATHS:
        return 0.0
    return float(min(MAX_DELAY_S, 0.5 * 2.0 ** (recent - FREE_DEATHS - 1)))
