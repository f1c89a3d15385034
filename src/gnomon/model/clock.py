"""The clock that loops and operations are handed: schedules follow `now_s`, durations do not."""

from typing import Protocol


class Clock(Protocol):
    """Wall time for schedules and records, monotonic time for durations."""

    def now_s(self) -> float:
        """Epoch seconds; may jump when somebody sets the machine's clock."""

    def monotonic_s(self) -> float:
        """Seconds that only go forward; their origin means nothing."""
