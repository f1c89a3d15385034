"""Queries on models, endpoint configurations, endpoints, experiments: found by name or id.

Every function takes the connection of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import msgspec
from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.records import (
    EndpointConfigRecord,
    EndpointRecord,
    ExperimentRecord,
    ModelRecord,
)
from gnomon.store.state import tables
from gnomon.store.state.rows import Record, from_row, to_row


@dataclass(frozen=True)
class Resource(Generic[Record]):
    """The queries that every named resource has."""

    table: Table
    type_: type[Record]

    async def find(self, connection: AsyncConnection, name: str) -> Record | None:
        """By name, without regard to case."""
        return await self._one(connection, self.table.c.name_key == name.lower())

    async def get(self, connection: AsyncConnection, id_: str) -> Record | None:
        return await self._one(connection, self.table.c.id == id_)

    async def all(self, connection: AsyncConnection) -> list[Record]:
        """All of them, oldest first."""
        rows = await connection.execute(select(self.table).order_by(self.table.c.id))
        return [from_row(self.type_, row) for row in rows.mappings()]

    async def where(
        self, connection: AsyncConnection, **equals: str | Sequence[str]
    ) -> list[Record]:
        """Those whose columns equal the values given (or one of them), oldest first."""
        query = select(self.table).order_by(self.table.c.id)
        for name, value in equals.items():
            column = self.table.c[name]
            query = query.where(column == value if isinstance(value, str) else column.in_(value))
        rows = await connection.execute(query)
        return [from_row(self.type_, row) for row in rows.mappings()]

    async def add(self, connection: AsyncConnection, record: Record) -> None:
        await connection.execute(insert(self.table).values(to_row(record, named=True)))

    async def put(self, connection: AsyncConnection, record: Record) -> None:
        """Replaces the row that has the record's id."""
        row = to_row(record, named=True)
        await connection.execute(update(self.table).where(self.table.c.id == row["id"]).values(row))

    async def remove(self, connection: AsyncConnection, id_: str) -> None:
        await connection.execute(delete(self.table).where(self.table.c.id == id_))

    async def _one(
        self, connection: AsyncConnection, condition: ColumnElement[bool]
    ) -> Record | None:
        rows = await connection.execute(select(self.table).where(condition))
        row = rows.mappings().first()
        return from_row(self.type_, row) if row is not None else None


def _resource(table: Table, type_: type[Record]) -> Resource[Record]:
    assert issubclass(type_, msgspec.Struct)
    return Resource(table, type_)


MODELS = _resource(tables.models, ModelRecord)
ENDPOINT_CONFIGS = _resource(tables.endpoint_configs, EndpointConfigRecord)
ENDPOINTS = _resource(tables.endpoints, EndpointRecord)
EXPERIMENTS = _resource(tables.experiments, ExperimentRecord)
