"""How much memory the router takes while its shadow hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

_LOOK_S = 0.5
_MB = 1_000_000


def watched(work: Callable[[], object], memory_bytes: Callable[[], int]) -> list[int]:
    """The memory at every look while the work is done."""
    with ThreadPoolExecutor(1) as pool:
        done: Future[object] = pool.submit(work)
        found = [memory_bytes()]
        while not done.done():
            time.sleep(_LOOK_S)
            found.append(memory_bytes())
        done.result()
    return found


def memory_figures(found: Sequence[int]) -> dict[str, float]:
    """The most; and the last quarter by the second one, when what the budget allows is held."""
    quarter = max(1, len(found) // 4)
    second = found[quarter : 2 * quarter] or found
    return {
        "hung_memory_mb": max(found) / _MB,
        "hung_memory_growth_ratio": median(found[-quarter:]) / median(second),
    }
