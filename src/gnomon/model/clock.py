"""The clock that loops and operations are handed: schedules follow `now_s`, durations do not.

Control measures across its own lives, from times in its database. For these there is *steady time*:
epoch seconds as the machine's clock had them when Gnomon first ran after the machine started, and
from there on by the monotonic clock, so that a clock that is set changes nothing.
"""

from typing import Protocol


class Clock(Protocol):
    """Wall time for schedules and records, monotonic time for durations."""

    def now_s(self) -> float:
        """Epoch seconds; may jump when somebody sets the machine's clock."""

    def monotonic_s(self) -> float:
        """Seconds that only go forward; their origin means nothing."""
