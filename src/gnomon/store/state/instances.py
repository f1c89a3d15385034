"""Queries on instances, captures and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.lifecycle import INSTANCE
from gnomon.model.records import EventRecord, InstanceRecord
from gnomon.model.spec import CaptureDefinition
from gnomon.store.state import tables
from gnomon.store.state.rows import from_row, to_row

_instances = tables.instances


async def add_instance(connection: AsyncConnection, record: InstanceRecord) -> None:
    await connection.execute(insert(_instances).values(to_row(record)))


async def put_instance(connection: AsyncConnection, record: InstanceRecord) -> None:
    row = to_row(record)
    await connection.execute(update(_instances).where(_instances.c.id == row["id"]).values(row))


async def get_instance(connection: AsyncConnection, id_: str) -> InstanceRecord | None:
    rows = await connection.execute(select(_instances).where(_instances.c.id == id_))
    row = rows.mappings().first()
    return from_row(InstanceRecord, row) if row is not None else None


async def instances_of(
    connection: AsyncConnection,
    endpoint_id: str | Sequence[str] | None = None,
    statuses: Sequence[str] | None = None,
    ended_since_s: float | None = None,
) -> list[InstanceRecord]:
    """Instances, oldest first: of one endpoint, of several or of all, in these statuses or any.

    `ended_since_s` adds those that ended at or after that time.
    """
    query = select(_instances).order_by(_instances.c.id)
    if isinstance(endpoint_id, str):
        query = query.where(_instances.c.endpoint_id == endpoint_id)
    elif endpoint_id is not None:
        query = query.where(_instances.c.endpoint_id.in_(endpoint_id))
    if statuses is not None:
        wanted: Any = _instances.c.status.in_(statuses)
        if ended_since_s is not None:
            wanted = wanted | (_instances.c.ended_at_s >= ended_since_s)
        query = query.where(wanted)
    rows = await connection.execute(query)
    return [from_row(InstanceRecord, row) for row in rows.mappings()]


async def latest_instances(
    connection: AsyncConnection, endpoint_id: str, limit: int
) -> list[InstanceRecord]:
    """The last `limit` instances of an endpoint, ended or not, oldest first."""
    query = (
        select(_instances)
        .where(_instances.c.endpoint_id == endpoint_id)
        .order_by(_instances.c.id.desc())
        .limit(limit)
    )
    rows = await connection.execute(query)
    return [from_row(InstanceRecord, row) for row in rows.mappings()][::-1]


@dataclass(frozen=True)
class NamedVariant:
    """A variant that had an instance, now or before, with its endpoint: names and ids."""

    endpoint_name: str
    variant_name: str
    endpoint_id: str
    variant_id: str


async def variants_named(
    connection: AsyncConnection,
    endpoint_name: str | None = None,
    variant_name: str | None = None,
) -> list[NamedVariant]:
    """Variants by name, or of every name, in the order of names; deleted ones included."""
    columns = _instances.c
    query = (
        select(columns.endpoint_name, columns.variant_name, columns.endpoint_id, columns.variant_id)
        .distinct()
        .order_by(columns.endpoint_name, columns.variant_name)
    )
    if endpoint_name is not None:
        query = query.where(columns.endpoint_name == endpoint_name)
    if variant_name is not None:
        query = query.where(columns.variant_name == variant_name)
    return [NamedVariant(*row) for row in await connection.execute(query)]


async def last_endpoint_named(connection: AsyncConnection, name: str) -> str | None:
    """The id of the endpoint that last had an instance under this name, also if it is deleted."""
    query = (
        select(_instances.c.endpoint_id)
        .where(func.lower(_instances.c.endpoint_name) == name.lower())
        .order_by(_instances.c.id.desc())
        .limit(1)
    )
    found = (await connection.execute(query)).scalar()
    return None if found is None else str(found)


async def add_capture(connection: AsyncConnection, id_: str, definition: CaptureDefinition) -> None:
    await connection.execute(
        insert(tables.captures).values(id=id_, definition=msgspec.json.encode(definition).decode())
    )


async def get_capture(connection: AsyncConnection, id_: str) -> CaptureDefinition | None:
    rows = await connection.execute(
        select(tables.captures.c.definition).where(tables.captures.c.id == id_)
    )
    text = rows.scalar()
    return None if text is None else msgspec.json.decode(text, type=CaptureDefinition)


async def add_event(connection: AsyncConnection, event: EventRecord) -> None:
    await connection.execute(insert(tables.events).values(to_row(event)))


async def events_of(
    connection: AsyncConnection,
    object_id: str | None = None,
    limit: int = 1000,
    name: str | None = None,
) -> list[EventRecord]:
    """The latest transitions, newest first.

    `name` is an endpoint's (its instances' are among them), an experiment's, or an instance's id.
    """
    query = select(tables.events).order_by(tables.events.c.id.desc()).limit(limit)
    if object_id is not None:
        query = query.where(tables.events.c.object_id == object_id)
    if name is not None:
        column = func.lower(tables.events.c.name)
        query = query.where(
            or_(
                column == name.lower(),
                column.startswith(f"{name.lower()}/", autoescape=True),
                tables.events.c.object_id == name.upper(),
            )
        )
    rows = await connection.execute(query)
    return [from_row(EventRecord, row) for row in rows.mappings()]


async def instance_events(
    connection: AsyncConnection, endpoint_name: str, since_s: float
) -> list[EventRecord]:
    """All transitions of an endpoint's instances from a moment of steady time on, oldest first."""
    events = tables.events.c
    query = (
        select(tables.events)
        .where(
            events.steady_s >= since_s,
            events.kind == INSTANCE.name,
            func.lower(events.name).startswith(f"{endpoint_name.lower()}/", autoescape=True),
        )
        .order_by(events.id)
    )
    rows = await connection.execute(query)
    return [from_row(EventRecord, row) for row in rows.mappings()]
