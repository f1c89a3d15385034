"""When a test ran, from the transitions of its experiment. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.model.records import EventRecord


@dataclass(frozen=True)
class Span:
    """When a test ran: by the machine's clock, and in steady time, which durations go by."""

    begins_s: float
    ends_s: float
    begins_steady_s: float
    ends_steady_s: float

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ends_steady_s - self.begins_steady_s


def running_span(events: list[EventRecord], now_s: float, steady_s: float) -> Span | None:
    """From an experiment's first Running to its last Stopping, or to now; None before. Pure.

    `events` are newest first.
    """
    began = [event for event in events if event.after == "Running"]
    if not began:
        return None
    ended = next((event for event in events if event.after == "Stopping"), None)
    return Span(
        began[-1].at_s,
        ended.at_s if ended else now_s,
        began[-1].steady_s,
        ended.steady_s if ended else steady_s,
    )
