"""Makes a data directory ready, before any process uses it."""

from __future__ import annotations

import os
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError

from gnomon.errors import DatabaseFailed, DataDirectoryError
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
            layout.seaweedfs,
            layout.logs,
            layout.snapshot(0).parent,
        ):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(
            f"{error.filename} cannot be made: {error.strerror}. Make the data directory this "
            "user's to write, or name another with --data-dir."
        ) from error
    _refuse_unwritable(layout)
    await _migrate("state", layout.state_file)
    await _migrate("telemetry", layout.telemetry_file)


def _refuse_unwritable(layout: Layout) -> None:
    """Whoever ran Gnomon here before may have been another user, root for instance."""
    databases = (layout.state_file, layout.telemetry_file)
    for path in (
        layout.root,
        *(path for path in layout.root.iterdir() if path.is_dir()),
        layout.instance_log("").parent,
        *(Path(f"{file}{suffix}") for file in databases for suffix in ("", "-wal", "-shm")),
    ):
        wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        # Not Path.exists, which raises where one may not look.
        if os.path.exists(path) and not os.access(path, wanted):  # noqa: PTH110 - as said
            raise DataDirectoryError(
                f"{path} cannot be written by this user: make the whole data directory theirs "
                "(chown -R), or name another with --data-dir."
            )


async def _migrate(database: DatabaseName, file: Path) -> None:
    try:
        await migrate(database, sqlite_url(file))
    except DatabaseFailed as error:
        # Nobody tries this again by itself, as the processes do that have begun.
        raise DataDirectoryError(
            f"The database {error.file} cannot be {error.act}, since {error.reason}, and start "
            "Gnomon again."
        ) from error
    except (DatabaseError, CommandError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        raise DataDirectoryError(
            f"The database {file} cannot be used: {reason}. If it is damaged, put a copy of it "
            "back, or move it and its -wal and -shm away to begin without what it held."
        ) from error
