"""Queries on models, endpoint configurations, endpoints, experiments: found by name or id.

Every function takes the connection of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from sqlalchemy import ColumnElement, Table, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.lifecycle import UNFINISHED_EXPERIMENT
from gnomon.model.records import (
    EndpointConfigRecord,
    EndpointRecord,
    ExperimentRecord,
    ModelRecord,
)
from gnomon.store.state import tables
from gnomon.store.state.rows import Record, from_row, to_row

# What a list may be sorted by: the columns that make the order, the last of them unique.
_ORDERS = {
    "Name": ("name_key", "id"),
    "CreationTime": ("created_at_s", "id"),
    "Status": ("status", "created_at_s", "id"),
}
SortKey = tuple[str | float, ...]


@dataclass(frozen=True)
class Filters:
    """What a listed row must be; None asks for nothing. Times are exclusive, in epoch seconds."""

    name_contains: str | None = None
    status: str | None = None
    created_after_s: float | None = None
    created_before_s: float | None = None
    modified_after_s: float | None = None
    modified_before_s: float | None = None


def _nothing(_record: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Resource(Generic[Record]):
    """The queries that every named resource has.

    `derived` gives columns that are no fields of the record: what rows are found by.
    """

    table: Table
    type_: type[Record]
    derived: Callable[[Record], dict[str, Any]] = _nothing

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
        query = select(self.table).where(*self._equal(equals)).order_by(self.table.c.id)
        rows = await connection.execute(query)
        return [from_row(self.type_, row) for row in rows.mappings()]

    async def count(self, connection: AsyncConnection, **equals: str | Sequence[str]) -> int:
        """How many `where` would give."""
        query = select(func.count()).select_from(self.table).where(*self._equal(equals))
        return int((await connection.execute(query)).scalar_one())

    async def page(
        self,
        connection: AsyncConnection,
        filters: Filters,
        sort_by: str,
        *,
        descending: bool,
        after: SortKey | None,
        limit: int,
    ) -> list[tuple[SortKey, Record]]:
        """The first `limit` rows that pass the filters and lie behind the sort key `after`."""
        columns = [self.table.c[name] for name in _ORDERS[sort_by]]
        chosen = select(self.table.c.id).where(*self._passing(filters))
        if filters.status is not None:
            status = self.table.c.status
            # By name the index of names is walked until the page is full: joined to '' the status
            # is no reason to sort all rows that have it instead (`scripts/bench api`).
            chosen = chosen.where((status + "" if sort_by == "Name" else status) == filters.status)
        if after is not None:
            place, mark = tuple_(*columns), tuple_(*after)
            chosen = chosen.where(place < mark if descending else place > mark)
        chosen = chosen.order_by(*(c.desc() if descending else c.asc() for c in columns))
        # Chosen from an index alone; the wide rows are read for those only.
        ids = (await connection.execute(chosen.limit(limit))).scalars().all()
        rows = await connection.execute(select(self.table).where(self.table.c.id.in_(ids)))
        by_id = {row["id"]: row for row in rows.mappings()}
        return [
            (
                tuple(by_id[id_][column.name] for column in columns),
                from_row(self.type_, by_id[id_]),
            )
            for id_ in ids
        ]

    async def add(self, connection: AsyncConnection, record: Record) -> None:
        await connection.execute(insert(self.table).values(self._row(record)))

    async def put(self, connection: AsyncConnection, record: Record) -> None:
        """Replaces the row that has the record's id."""
        row = self._row(record)
        await connection.execute(update(self.table).where(self.table.c.id == row["id"]).values(row))

    async def remove(self, connection: AsyncConnection, id_: str) -> None:
        await connection.execute(delete(self.table).where(self.table.c.id == id_))

    def _row(self, record: Record) -> dict[str, Any]:
        return to_row(record, named=True) | self.derived(record)

    def _equal(self, equals: dict[str, str | Sequence[str]]) -> list[ColumnElement[bool]]:
        columns = self.table.c
        return [
            columns[name] == value if isinstance(value, str) else columns[name].in_(value)
            for name, value in equals.items()
        ]

    def _passing(self, filters: Filters) -> list[ColumnElement[bool]]:
        columns = self.table.c
        conditions: list[ColumnElement[bool]] = []
        if filters.name_contains:
            name = filters.name_contains.lower()
            conditions.append(columns.name_key.contains(name, autoescape=True))
        for column, after_s, before_s in (
            ("created_at_s", filters.created_after_s, filters.created_before_s),
            ("modified_at_s", filters.modified_after_s, filters.modified_before_s),
        ):
            if after_s is not None:
                conditions.append(columns[column] > after_s)
            if before_s is not None:
                conditions.append(columns[column] < before_s)
        return conditions

    async def _one(
        self, connection: AsyncConnection, condition: ColumnElement[bool]
    ) -> Record | None:
        rows = await connection.execute(select(self.table).where(condition))
        row = rows.mappings().first()
        return from_row(self.type_, row) if row is not None else None


MODELS = Resource(tables.models, ModelRecord)
ENDPOINT_CONFIGS = Resource(tables.endpoint_configs, EndpointConfigRecord)
ENDPOINTS = Resource(
    tables.endpoints,
    EndpointRecord,
    lambda endpoint: {"wanted": sum(variant.count for variant in endpoint.desired.variants)},
)
EXPERIMENTS = Resource(
    tables.experiments, ExperimentRecord, lambda experiment: {"due_at_s": experiment.due_at_s}
)


@dataclass(frozen=True)
class Due:
    """Experiments that need a look at `now_s`, as (id, name, status), and when the next will."""

    now_s: float
    experiments: list[tuple[str, str, str]]
    next_at_s: float | None


async def due_experiments(connection: AsyncConnection, now_s: float) -> Due:
    columns = tables.experiments.c
    rows = await connection.execute(
        select(columns.id, columns.name, columns.status)
        .where(columns.due_at_s <= now_s)
        .order_by(columns.due_at_s, columns.id)
    )
    later = select(func.min(columns.due_at_s)).where(columns.due_at_s > now_s)
    return Due(
        now_s,
        [(row.id, row.name, row.status) for row in rows],
        (await connection.execute(later)).scalar(),
    )


async def lacking_endpoints(connection: AsyncConnection) -> list[str]:
    """Ids of the endpoints that have not as many healthy instances as they want, or others too."""
    instances, endpoints = tables.instances.c, tables.endpoints.c
    healthy = (
        select(instances.endpoint_id, func.count().label("healthy"))
        .where(instances.status == "InService")
        .group_by(instances.endpoint_id)
        .subquery()
    )
    rows = await connection.execute(
        select(endpoints.id)
        .outerjoin(healthy, healthy.c.endpoint_id == endpoints.id)
        .where(
            func.coalesce(healthy.c.healthy, 0) != endpoints.wanted, endpoints.status != "Failed"
        )
    )
    return list(rows.scalars())


async def endpoint_ids(
    connection: AsyncConnection, statuses: Sequence[str] | None = None
) -> set[str]:
    """Ids of the endpoints in one of these statuses, or in any."""
    query = select(tables.endpoints.c.id)
    if statuses is not None:
        query = query.where(tables.endpoints.c.status.in_(statuses))
    return set((await connection.execute(query)).scalars())


async def config_is_used(connection: AsyncConnection, name: str) -> bool:
    """Whether an endpoint has the configuration, or goes back to it when its test ends."""
    said = f'"config_name":"{name}"'
    endpoints, experiments = tables.endpoints.c, tables.experiments.c
    by_endpoint = select(endpoints.id).where(
        or_(
            endpoints.desired.contains(said, autoescape=True),
            endpoints.serving.contains(said, autoescape=True),
        )
    )
    by_experiment = select(experiments.id).where(
        experiments.status.in_(UNFINISHED_EXPERIMENT),
        experiments.plan.contains(said, autoescape=True),
    )
    for query in (by_endpoint, by_experiment):
        if (await connection.execute(query.limit(1))).first() is not None:
            return True
    return False
