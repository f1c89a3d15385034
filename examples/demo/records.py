"""Reads the captured records of the test, in SageMaker's own format."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """One request to one variant: its ids, what was answered, and the record as it is written."""

    event_id: str
    number: int
    label: str
    text: str


@dataclass(frozen=True)
class Pair:
    """The records of both variants about one request."""

    production: Record
    shadow: Record


def read_records(text: str) -> list[Record]:
    """The records of a text, one for each line."""
    return [parse(line) for line in text.splitlines()]


def parse(line: str) -> Record:
    """Raises KeyError or ValueError for a line that is no record of a flight."""
    value: Mapping[str, Any] = json.loads(line)
    return Record(
        event_id=value["eventMetadata"]["eventId"],
        number=int(value["eventMetadata"]["inferenceId"]),
        # A request that was not answered has no output.
        label=value["captureData"].get("endpointOutput", {"data": ""})["data"].strip(),
        text=line,
    )


def join(production: Iterable[Record], shadow: Iterable[Record]) -> list[Pair]:
    """The requests that both variants answered, by the event id that their records share."""
    by_event = {record.event_id: record for record in production}
    return [
        Pair(by_event[record.event_id], record) for record in shadow if record.event_id in by_event
    ]
