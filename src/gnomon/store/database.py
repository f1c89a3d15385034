"""One database: its engine, and how reading and writing transactions begin.

The driver's own handling of transactions is off: a write takes the lock at its start (BEGIN
IMMEDIATE), so that it waits its turn instead of failing half-way, and a read sees one state from
its first statement to its last. What is in a database is left to `gnomon.store.state` and
`gnomon.store.telemetry`; how it got its tables, to `gnomon.store.migrate`. What a full or failing
disk makes of a transaction is said here, once; whoever wanted it tries again in its own time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gnomon.errors import DatabaseFailed

# How long (s) a write waits for another process's: writes take milliseconds, a migration seconds.
_BUSY_TIMEOUT_S = 30.0
_BEGIN_OPTION = "gnomon_begin"
_FULL = "its disk is full: free space there"
# Errors of SQLite that are the machine's (https://sqlite.org/rescode.html), and what to do.
_FAILURES = {
    sqlite3.SQLITE_FULL: _FULL,
    # No room for the file that connections share, which the first one makes.
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_IOERR: "its disk fails (I/O error): see what the kernel's log says of it",
    sqlite3.SQLITE_CANTOPEN: (
        "its files cannot be opened: see to the rights of its directory and to `ulimit -n`"
    ),
    sqlite3.SQLITE_READONLY: "this user may not write it: give it and its directory to this user",
}
# The part of SQLite's extended error codes that says which of its errors it is.
_PRIMARY_CODE = 0xFF

_LOG = structlog.get_logger(__name__)


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database in the file `path`."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)


class Database:
    """The connections of this process to one database.

    Invariant: what happens inside one `reading()` or `writing()` block is one transaction. Whoever
    built it closes it, in the loop that used it. Both raise DatabaseFailed for the machine's sake.
    """

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url, connect_args={"timeout": _BUSY_TIMEOUT_S} if _is_sqlite(url) else {}
        )
        if _is_sqlite(url):
            event.listen(self.engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        self._file = make_url(url).database or url
        # By what was tried: how the last such transaction failed, if it did.
        self._failures: dict[str, str] = {}
        self._reading = self.engine.execution_options(**{_BEGIN_OPTION: "BEGIN"})

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one state and waits for no writer."""
        with self._translated("read"):
            async with self._reading.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, rolled back on an exception."""
        with self._translated("written"):
            async with self.engine.begin() as connection:
                yield connection

    @property
    def troubles(self) -> tuple[str, ...]:
        """Sentences on what the last transactions of their kind failed by; none if all is well."""
        return tuple(self._failures.values())

    @contextmanager
    def _translated(self, act: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            reason = failure_reason(error)
            if reason is None:
                raise
            failed = DatabaseFailed(self._file, act, reason)
            if self._failures.get(act) != str(failed):
                self._failures[act] = str(failed)
                _LOG.error("a database fails", reason=str(failed))
            raise failed from error
        if self._failures.pop(act, None) is not None:
            _LOG.info("a database works again", file=self._file, can_be=act)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def failure_reason(error: DBAPIError) -> str | None:
    """Why the machine lets the database down, with what to do; None if it is not the machine."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else _FAILURES.get(code, _FAILURES.get(code & _PRIMARY_CODE))


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
