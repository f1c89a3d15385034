"""How long which instance of a test was away: from the recorded transitions alone. Pure.

What control itself saw counts: an instance that died while control was away is missed from the
moment on at which control looked for it. What routers did about it meanwhile (ejections) is counted
by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gnomon.model.lifecycle import FAILED_INSTANCE, INSTANCE
from gnomon.model.records import EventRecord


@dataclass(frozen=True)
class Absence:
    """`at_s` is epoch seconds; `away_s` is how long until another was there in its place, None as
    long as there is none.
    """

    instance_id: str
    variant_name: str
    at_s: float
    away_s: float | None
    reason: str


def absences(events: Iterable[EventRecord], from_s: float, to_s: float) -> list[Absence]:
    """Instances that were in service and ended unwanted within this span of steady time.

    `events` are an endpoint's and its instances', oldest first, also those after the span. The one
    that is missed longest is the first to be replaced.
    """
    found: list[tuple[EventRecord, float | None]] = []
    waiting: dict[str, list[int]] = {}
    for event in events:
        if event.kind != INSTANCE.name:
            continue
        missed = waiting.setdefault(event.name, [])
        if event.after == "InService" and missed:
            gone, _ = found[missed[0]]
            found[missed.pop(0)] = (gone, event.steady_s - gone.steady_s)
        elif event.before == "InService" and event.after in {*FAILED_INSTANCE, "Stopped"}:
            missed.append(len(found))
            found.append((event, None))
    return [
        Absence(
            instance_id=gone.object_id,
            variant_name=gone.name.rpartition("/")[2],
            at_s=gone.at_s,
            away_s=away_s,
            reason=gone.reason,
        )
        for gone, away_s in found
        if from_s <= gone.steady_s <= to_s
    ]
