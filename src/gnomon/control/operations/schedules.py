"""An experiment's schedule: defaults and bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from gnomon.errors import ValidationFailed

DEFAULT_SPAN_S = timedelta(days=7).total_seconds()
MAX_SPAN_S = timedelta(days=30).total_seconds()


def new_schedule(schedule: Mapping[str, datetime] | None, now_s: float) -> tuple[float, float]:
    """Start and end, epoch seconds, of a Create's Schedule (default: from now, for 7 days).

    Raises ValidationFailed for an end before the start, in the past, or over 30 days on.
    """
    given = schedule or {}
    start, end = given.get("StartTime"), given.get("EndTime")
    starts_at_s = now_s if start is None else max(start.timestamp(), now_s)
    ends_at_s = starts_at_s + DEFAULT_SPAN_S if end is None else end.timestamp()
    if start is not None and end is not None and end <= start:
        raise ValidationFailed("Schedule.EndTime must be after Schedule.StartTime.")
    check_span(starts_at_s, ends_at_s, now_s)
    return starts_at_s, ends_at_s


def check_span(starts_at_s: float, ends_at_s: float, now_s: float) -> None:
    """Raises ValidationFailed for an end in the past, before the start, or over 30 days on."""
    if ends_at_s <= now_s:
        raise ValidationFailed("Schedule.EndTime must be in the future.")
    if ends_at_s <= starts_at_s:
        raise ValidationFailed("Schedule.EndTime must be after Schedule.StartTime.")
    if ends_at_s - starts_at_s > MAX_SPAN_S:
        raise ValidationFailed("The schedule must not span more than 30 days.")
