"""Which requests of tests are open, so that a router can say up to when it has said all.

A pair is spooled when both answers are through: the slow ones come last, and figures of what came
so far would be too favourable. What is judged waits for all requests that came as early.
"""

from __future__ import annotations


class OpenRequests:
    """Counts them by the second in which they came."""

    __slots__ = ("_by_second",)

    def __init__(self) -> None:
        self._by_second: dict[int, int] = {}

    def begin(self, at_s: float) -> None:
        """A request came at `at_s` (epoch seconds)."""
        second = int(at_s)
        self._by_second[second] = self._by_second.get(second, 0) + 1

    def end(self, at_s: float) -> None:
        """It has ended, and all that was to be said of it is in the spool."""
        second = int(at_s)
        left = self._by_second[second] - 1
        if left:
            self._by_second[second] = left
        else:
            del self._by_second[second]

    def complete_s(self, now_s: float) -> float:
        """No request from before this moment is open."""
        return min(self._by_second, default=now_s)
