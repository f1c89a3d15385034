"""Captured exchanges as SageMaker writes them: records, and the objects that hold them.

A closed segment becomes one object for each (incarnation, segment, capture id, endpoint, variant,
UTC hour). Its key follows from these and from its first record, so that a repeat overwrites what
an interrupted one wrote. A record is one line:

    {"captureData": {"endpointInput": {...}, "endpointOutput": {...}},
     "eventMetadata": {"eventId", "inferenceId" if the client sent one, "inferenceTime"},
     "eventVersion": "0"}

Formats: "Capture data" in the SageMaker developer guide. Where definitions come from is left to
the caller, reading and writing to `objects`.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from gnomon.model.spec import CaptureDefinition
from gnomon.spool.frames import Exchange
from gnomon.stats.comparators import media_type

# Any fixed value does; another one would write objects of interrupted segments a second time.
_NAMESPACE = uuid.UUID("6c5f1f0e-5d0c-4f0e-9a43-0f9f6d1b8a57")


Captures = Callable[[str], Awaitable[CaptureDefinition | None]]


@dataclass(frozen=True)
class Group:
    """What the records of one object have in common. `hour` is the start of a UTC hour."""

    incarnation_id: str
    segment: int
    capture_id: str
    endpoint_name: str
    variant_name: str
    hour: datetime


def group_of(incarnation_id: str, number: int, exchange: Exchange) -> Group:
    """The group of an exchange in segment `number` of an incarnation."""
    hour = _utc(exchange.at_s).replace(minute=0, second=0, microsecond=0)
    return Group(
        incarnation_id,
        number,
        exchange.capture_id,
        exchange.endpoint_name,
        exchange.variant_name,
        hour,
    )


def object_key(group: Group, first_at_s: float) -> str:
    """The key of a group's object below the capture's destination, from its first record's time."""
    first_at = _utc(first_at_s)
    name = "/".join(
        (
            group.incarnation_id,
            str(group.segment),
            group.capture_id,
            group.endpoint_name,
            group.variant_name,
            group.hour.isoformat(),
        )
    )
    return (
        f"{group.endpoint_name}/{group.variant_name}/{group.hour:%Y/%m/%d/%H}/"
        f"{first_at:%M-%S}-{first_at.microsecond // 1000:03d}-{uuid.uuid5(_NAMESPACE, name)}.jsonl"
    )


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    observed_content_type: str | msgspec.UnsetType
    mode: Literal["INPUT", "OUTPUT"]
    data: str
    encoding: Literal["CSV", "JSON", "BASE64"]


class _CaptureData(msgspec.Struct, frozen=True, rename="camel"):
    endpoint_input: _Data | msgspec.UnsetType
    endpoint_output: _Data | msgspec.UnsetType


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    event_id: str
    inference_id: str | msgspec.UnsetType
    inference_time: str


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    capture_data: _CaptureData
    event_metadata: _Metadata
    event_version: str = "0"


def record(exchange: Exchange, definition: CaptureDefinition) -> bytes:
    """One exchange as a line of the object. A side that was not captured is left out."""
    inference_id = exchange.inference_id
    whole = _Record(
        _CaptureData(
            _data("INPUT", exchange.request_content_type, exchange.request_body, definition),
            _data("OUTPUT", exchange.response_content_type, exchange.response_body, definition),
        ),
        _Metadata(
            exchange.event_id,
            msgspec.UNSET if inference_id is None else inference_id,
            f"{_utc(exchange.at_s):%Y-%m-%dT%H:%M:%SZ}",
        ),
    )
    return msgspec.json.encode(whole) + b"\n"


def _data(
    mode: Literal["INPUT", "OUTPUT"],
    content_type: str | None,
    body: bytes | None,
    definition: CaptureDefinition,
) -> _Data | msgspec.UnsetType:
    if body is None:
        return msgspec.UNSET
    encoding = _encoding(content_type, definition)
    try:
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        # It was not what it said it was; nothing of it may be lost.
        encoding = "BASE64"
        data = base64.b64encode(body).decode()
    return _Data(msgspec.UNSET if content_type is None else content_type, mode, data, encoding)


def _encoding(
    content_type: str | None, definition: CaptureDefinition
) -> Literal["CSV", "JSON", "BASE64"]:
    observed = media_type(content_type or "")
    if observed and observed in map(media_type, definition.csv_content_types):
        return "CSV"
    if observed and observed in map(media_type, definition.json_content_types):
        return "JSON"
    return "BASE64"


def _utc(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
