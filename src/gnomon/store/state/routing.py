"""Queries on the routing snapshot and on the routers that are told of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.records import IncarnationRecord
from gnomon.model.snapshot import Endpoint, Removed, Update
from gnomon.store.state import tables
from gnomon.store.state.rows import from_row, to_row

_routes = tables.routes
_version = tables.route_version
_incarnations = tables.incarnations


async def current_version(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.max(_version.c.version)))).scalar() or 0)


async def next_version(connection: AsyncConnection) -> int:
    """Takes the next version of the one global counter."""
    version = await current_version(connection) + 1
    changed = await connection.execute(update(_version).values(version=version))
    if changed.rowcount == 0:
        await connection.execute(insert(_version).values(id=1, version=version))
    return version


async def published(connection: AsyncConnection, endpoint_id: str) -> Endpoint | None:
    """What routers are told of an endpoint now."""
    return (await published_of(connection, [endpoint_id])).get(endpoint_id)


async def published_of(
    connection: AsyncConnection, endpoint_ids: Sequence[str]
) -> dict[str, Endpoint]:
    """The same of several, by id; those that routers are told nothing of are left out."""
    rows = await connection.execute(
        select(_routes.c.endpoint_id, _routes.c.entry).where(
            _routes.c.endpoint_id.in_(endpoint_ids), _routes.c.entry.is_not(None)
        )
    )
    return {row.endpoint_id: msgspec.msgpack.decode(row.entry, type=Endpoint) for row in rows}


async def publish(
    connection: AsyncConnection, endpoint_id: str, version: int, entry: Endpoint | None
) -> None:
    """Tells routers `entry` of the endpoint from `version` on; None withdraws it."""
    encoded = None if entry is None else msgspec.msgpack.encode(entry)
    changed = await connection.execute(
        update(_routes)
        .where(_routes.c.endpoint_id == endpoint_id)
        .values(version=version, entry=encoded)
    )
    if changed.rowcount == 0:
        await connection.execute(
            insert(_routes).values(endpoint_id=endpoint_id, version=version, entry=encoded)
        )


async def tell_anew(connection: AsyncConnection, kms_keys: Collection[str]) -> None:
    """Has routers told again of all endpoints with one of these KMS keys, unchanged."""
    rows = await connection.execute(select(_routes.c.entry).where(_routes.c.entry.is_not(None)))
    for entry in rows.scalars().all():
        endpoint = msgspec.msgpack.decode(entry, type=Endpoint)
        if endpoint.kms_key in kms_keys:
            version = await next_version(connection)
            again = msgspec.structs.replace(endpoint, version=version)
            await publish(connection, endpoint.id, version, again)


async def changes_since(connection: AsyncConnection, version: int) -> Update:
    """What a router that has `version` does not know yet."""
    rows = (
        (
            await connection.execute(
                select(_routes).where(_routes.c.version > version).order_by(_routes.c.version)
            )
        )
        .mappings()
        .all()
    )
    return Update(
        version=await current_version(connection),
        endpoints=tuple(
            msgspec.msgpack.decode(row["entry"], type=Endpoint)
            for row in rows
            if row["entry"] is not None
        ),
        removed=tuple(
            Removed(row["endpoint_id"], row["version"]) for row in rows if row["entry"] is None
        ),
    )


async def incarnations(connection: AsyncConnection) -> list[IncarnationRecord]:
    """Incarnations whose records are not all in yet, the dead included."""
    rows = await connection.execute(select(_incarnations).where(_incarnations.c.gone.is_(False)))
    return [from_row(IncarnationRecord, row) for row in rows.mappings()]


async def add_incarnation(connection: AsyncConnection, record: IncarnationRecord) -> None:
    known = await connection.execute(
        select(_incarnations.c.id).where(_incarnations.c.id == record.id)
    )
    if known.first() is None:
        await connection.execute(insert(_incarnations).values(to_row(record)))


async def put_incarnation(connection: AsyncConnection, record: IncarnationRecord) -> None:
    await connection.execute(
        update(_incarnations).where(_incarnations.c.id == record.id).values(to_row(record))
    )
