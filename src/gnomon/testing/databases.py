"""A database with its tables, as a supervisor leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate


@asynccontextmanager
async def migrated(
    which: Literal["state", "telemetry"], directory: Path
) -> AsyncIterator[Database]:
    """The `state` or the `telemetry` database, in a file of that name; closed at the end."""
    url = sqlite_url(directory / f"{which}.db")
    await migrate(which, url)
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()
