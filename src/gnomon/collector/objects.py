"""Writes the objects that a closed segment's exchanges become, and tells its barriers.

Always from the segment's first byte: an object that an interrupted collector wrote is written again
under the same key. A role, a destination or a key that cannot be used now does not hold up what
goes elsewhere. What the records and keys look like is `capture`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog

from gnomon.collector.capture import (
    Captures,
    Group,
    group_of,
    object_key,
    record,
)
from gnomon.errors import GnomonError
from gnomon.model.spec import CaptureDefinition
from gnomon.objects.keys import KeyServiceFailed, KeyUnusable
from gnomon.objects.roles import Roles, RoleUnusable
from gnomon.objects.store import ObjectStoreFailed
from gnomon.objects.url import ObjectUrlInvalid, join
from gnomon.spool import segment
from gnomon.spool.frames import Barrier, Exchange, Frame
from gnomon.spool.sealing import FrameOpener

# Frames that are decoded and not yet turned into records.
_FRAMES_AT_ONCE = 200


@dataclass
class _Growing:
    """An object that is being put together."""

    first_at_s: float
    lines: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """A segment after it was read to its end: the reader, the barriers, and the captures in it, by
    id: whose objects are written, who was not wanted, and why others could not be written.
    """

    reader: segment.SegmentReader
    barriers: list[Barrier]
    done: frozenset[str]
    passed_over: frozenset[str]
    failures: dict[str, GnomonError]


async def write_objects(
    roles: Roles,
    captures: Captures,
    incarnation_id: str,
    number: int,
    path: Path,
    opener: FrameOpener,
    wants: Callable[[str], bool],
) -> Written:
    """Write the objects of segment `number`, of the captures that `wants` says.

    In memory are their records: about 1.4 times the segment's size where all bodies are BASE64.
    """
    reader = segment.SegmentReader(path, kinds={segment.EXCHANGE, segment.BARRIER}, opener=opener)
    frames = iter(reader)
    definitions: dict[str, CaptureDefinition | None] = {}
    unwanted: set[str] = set()
    growing: dict[Group, _Growing] = {}
    barriers: list[Barrier] = []
    while some := await asyncio.to_thread(_some, frames):
        exchanges = [frame for frame in some if isinstance(frame, Exchange)]
        barriers.extend(frame for frame in some if isinstance(frame, Barrier))
        found = {exchange.capture_id for exchange in exchanges}
        for capture_id in found - definitions.keys() - unwanted:
            if wants(capture_id):
                definitions[capture_id] = await captures(capture_id)
            else:
                unwanted.add(capture_id)
        for exchange in exchanges:
            definition = definitions.get(exchange.capture_id)
            if definition is not None:
                group = group_of(incarnation_id, number, exchange)
                entry = growing.setdefault(group, _Growing(exchange.at_s))
                entry.lines.append(record(exchange, definition))
    failures = await _put_all(roles, definitions, growing)
    done = frozenset(definitions) - failures.keys()
    return Written(reader, barriers, done, frozenset(unwanted), failures)


def _some(frames: Iterator[tuple[int, Frame]]) -> list[Frame]:
    return [frame for _, frame in islice(frames, _FRAMES_AT_ONCE)]


async def _put_all(
    roles: Roles,
    definitions: dict[str, CaptureDefinition | None],
    growing: dict[Group, _Growing],
) -> dict[str, GnomonError]:
    log = structlog.get_logger(__name__)
    for capture_id, definition in definitions.items():
        if definition is None:
            log.warning("exchanges_dropped", capture_id=capture_id, reason="unknown capture")
    failures: dict[str, GnomonError] = {}
    while growing:
        group, entry = growing.popitem()
        definition = definitions[group.capture_id]
        if definition is None or group.capture_id in failures:
            continue
        url = join(definition.destination, object_key(group, entry.first_at_s))
        try:
            data = b"".join(entry.lines)
            objects = roles.access(definition.role_arn).objects
            if definition.kms_key:
                await objects.put_encrypted(url, data, definition.kms_key)
            else:
                await objects.put(url, data)
        except ObjectUrlInvalid as error:
            # It never gets valid, and what is behind it in the spool shall not wait for it.
            log.warning("exchanges_dropped", capture_id=group.capture_id, reason=str(error))
        except (RoleUnusable, ObjectStoreFailed, KeyUnusable, KeyServiceFailed) as error:
            failures[group.capture_id] = error
    return failures
