"""Queries on how experiments are judged."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.analysis import AnalysisRecord
from gnomon.store.state.rows import from_row, to_row
from gnomon.store.state.tables import analyses


async def put_analysis(connection: AsyncConnection, record: AnalysisRecord) -> None:
    """Sets how an experiment is judged from now on."""
    row = to_row(record)
    insert = sqlite.insert(analyses).values(row)
    await connection.execute(
        insert.on_conflict_do_update(index_elements=[analyses.c.experiment_id], set_=row)
    )


async def analyses_of(
    connection: AsyncConnection, experiment_ids: Collection[str]
) -> dict[str, AnalysisRecord]:
    """By experiment; those without settings of their own are left out."""
    rows = await connection.execute(
        select(analyses).where(analyses.c.experiment_id.in_(list(experiment_ids)))
    )
    found = (from_row(AnalysisRecord, row) for row in rows.mappings())
    return {record.experiment_id: record for record in found}


async def remove_analysis(connection: AsyncConnection, experiment_id: str) -> None:
    """Forgets the settings of an experiment that is deleted."""
    await connection.execute(delete(analyses).where(analyses.c.experiment_id == experiment_id))
