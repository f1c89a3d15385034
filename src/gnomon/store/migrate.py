"""Brings a database to the schema of this version, by the revisions in `migrations/`.

Its counterpart is the `metadata` of each database's `tables` module: a test sees that the two are
equal. All revisions run in one transaction, so that a database is never between two of them. There
is no alembic.ini and no env.py: Alembic is driven from here, and logging is left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gnomon.store.database import Database

DatabaseName = Literal["state", "telemetry"]

_MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(database: DatabaseName, url: str) -> None:
    """Create the database at `url`, or bring it to the newest revision. May be repeated."""
    opened = Database(url)
    try:
        async with opened.writing() as connection:
            await connection.run_sync(_upgrade, database)
    finally:
        await opened.close()


def version_table(database: DatabaseName) -> str:
    """The table that holds the revision which `database` is at."""
    return f"{database}_revision"


def _upgrade(connection: Connection, database: DatabaseName) -> None:
    location = _MIGRATIONS / database
    script = ScriptDirectory(location, version_locations=[location / "versions"])

    def revisions(current: Any, _context: object) -> Any:
        return script._upgrade_revs("head", current)

    with EnvironmentContext(Config(), script, fn=revisions, destination_rev="head") as environment:
        environment.configure(
            connection=connection,
            version_table=version_table(database),
            transactional_ddl=True,
        )
        environment.run_migrations()
