"""One database: its engine, and how reading and writing transactions begin.

The driver's own handling of transactions is off: a write takes the lock at its start (BEGIN
IMMEDIATE), so that it waits its turn instead of failing half-way, and a read sees one state from
its first statement to its last. What is in a database is left to `gnomon.store.state` and
`gnomon.store.telemetry`; how it got its tables, to `gnomon.store.migrate`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# How long (s) a write waits for another process's: writes take milliseconds, a migration seconds.
_BUSY_TIMEOUT_S = 30.0
_BEGIN_OPTION = "gnomon_begin"


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database in the file `path`."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)


class Database:
    """The connections of this process to one database.

    Invariant: what happens inside one `reading()` or `writing()` block is one transaction. Whoever
    built it closes it, in the loop that used it.
    """

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url, connect_args={"timeout": _BUSY_TIMEOUT_S} if _is_sqlite(url) else {}
        )
        if _is_sqlite(url):
            event.listen(self.engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        self._reading = self.engine.execution_options(**{_BEGIN_OPTION: "BEGIN"})

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one state and waits for no writer."""
        async with self._reading.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, rolled back on an exception."""
        async with self.engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _set_up_sqlite(driver_connection: Any, _record: object) -> None:
    driver_connection.isolation_level = None
    cursor = driver_connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL, not NORMAL: after a power cut NORMAL may lose the last commits, and by then the caller
    # has had its answer, or the spool segment that the rows came from is gone.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get(_BEGIN_OPTION, "BEGIN IMMEDIATE"))
