"""An experiment's captured records as `gnomon capture` shows them: objects, records, joined pairs.

The store gives them in clear if the key that they are under may be used. Records of one request
have one UTC hour, by which objects are named: an hour's production records are what is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from gnomon.errors import GnomonError
from gnomon.objects.store import ObjectInfo, ObjectStore

# Characters of <variant>/yyyy/mm/dd/hh/… that are the hour.
_HOUR_CHARACTERS = len("yyyy/mm/dd/hh")


class NothingCaptured(GnomonError):
    """An experiment without a DataStorageConfig."""


@dataclass(frozen=True)
class Captured:
    """One object, of which endpoint's variant and of which hour."""

    info: ObjectInfo
    variant: str
    hour: str


def place_of(report: dict[str, Any]) -> str:
    """Where an experiment's records lie, by its report. Raises NothingCaptured."""
    destination = report["captures"]["destination"]
    experiment = report["experiment"]
    if destination is None:
        raise NothingCaptured(
            f"The inference experiment {experiment['name']} captures nothing: it was created "
            "without a DataStorageConfig."
        )
    return f"{destination.rstrip('/')}/{experiment['endpoint']}"


async def captured_objects(
    objects: ObjectStore, place: str, variants: tuple[str, ...]
) -> list[Captured]:
    """The objects of these variants, by hour, production before shadow, oldest first."""
    found = []
    for variant in variants:
        below = f"{place}/{variant}/"
        async for info in objects.list(below):
            hour = info.url.removeprefix(below)[:_HOUR_CHARACTERS]
            found.append(Captured(info, variant, hour))
    return sorted(found, key=lambda c: (c.hour, variants.index(c.variant), c.info.url))


async def records(objects: ObjectStore, found: list[Captured]) -> AsyncIterator[str]:
    """Every record, a line without its end."""
    for item in found:
        for line in (await objects.get(item.info.url)).splitlines():
            yield line.decode()


async def pairs(
    objects: ObjectStore, found: list[Captured], production: str
) -> AsyncIterator[dict[str, Any]]:
    """Requests that both variants have a record of, as the shadow's records come."""
    for _, of_hour in groupby(found, key=attrgetter("hour")):
        theirs: dict[str, dict[str, Any]] = {}
        for item in of_hour:
            for line in (await objects.get(item.info.url)).splitlines():
                record = msgspec.json.decode(line)
                event_id = record["eventMetadata"]["eventId"]
                if item.variant == production:
                    theirs[event_id] = record
                elif event_id in theirs:
                    yield _pair(theirs.pop(event_id), record)


async def standing_out(
    objects: ObjectStore,
    found: list[Captured],
    production: str,
    scores: Mapping[str, float],
) -> list[dict[str, Any]]:
    """The pairs of these event ids, in their order, each with its score; those that are there."""
    of_event = {
        pair["eventId"]: pair
        async for pair in pairs(objects, found, production)
        if pair["eventId"] in scores
    }
    return [
        {"score": score, **of_event[event_id]}
        for event_id, score in scores.items()
        if event_id in of_event
    ]


def _pair(production: dict[str, Any], shadow: dict[str, Any]) -> dict[str, Any]:
    return {
        **production["eventMetadata"],
        "endpointInput": production["captureData"].get("endpointInput"),
        "production": production["captureData"].get("endpointOutput"),
        "shadow": shadow["captureData"].get("endpointOutput"),
    }
