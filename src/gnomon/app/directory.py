"""Makes a data directory ready, before any process uses it."""

from __future__ import annotations

from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError

from gnomon.errors import DataDirectoryError
from gnomon.model.layout import Layout
from gnomon.store.database import sqlite_url
from gnomon.store.migrate import DatabaseName, migrate


async def prepare(layout: Layout) -> None:
    """Makes the directories and brings both databases to this version's tables.

    Raises DataDirectoryError. The caller holds the data directory.
    """
    try:
        for path in (
            layout.spool,
            layout.objects,
            layout.models,
            layout.logs,
            layout.snapshot(0).parent,
        ):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(f"{error.filename} cannot be made: {error.strerror}.") from error
    await _migrate("state", layout.state_file)
    await _migrate("telemetry", layout.telemetry_file)


async def _migrate(database: DatabaseName, file: Path) -> None:
    try:
        await migrate(database, sqlite_url(file))
    except (DatabaseError, CommandError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        raise DataDirectoryError(
            f"The database {file} cannot be used: {reason}. If it is damaged, put a copy of it "
            "back, or move it and its -wal and -shm away to begin without what it held."
        ) from error
