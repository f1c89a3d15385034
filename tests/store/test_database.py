import asyncio
import resource
import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from gnomon.errors import DatabaseFailed
from gnomon.store.database import Database, sqlite_url


@pytest.fixture
async def database(tmp_path):
    database = Database(sqlite_url(tmp_path / "a%b c?.sqlite"))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE u (x INTEGER REFERENCES t (x))"))
    yield database
    await database.close()


async def _rows(database):
    async with database.reading() as connection:
        return list(await connection.scalars(text("SELECT x FROM t ORDER BY x")))


async def test_the_file_is_the_one_named_whatever_its_name(database, tmp_path):
    assert (tmp_path / "a%b c?.sqlite").exists()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30000)],
)
async def test_a_connection_is_set_up(database, pragma, value):
    async with database.reading() as connection:
        assert await connection.scalar(text(f"PRAGMA {pragma}")) == value


async def test_an_exception_rolls_everything_back_tables_too(database):
    with pytest.raises(ZeroDivisionError):
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE v (x INTEGER)"))
            await connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ZeroDivisionError
    async with database.reading() as connection:
        tables = await connection.scalars(text("SELECT name FROM sqlite_master ORDER BY name"))
        assert list(tables) == ["t", "u"]
    assert await _rows(database) == []


async def test_foreign_keys_are_checked(database):
    with pytest.raises(IntegrityError):
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO u VALUES (1)"))


async def test_a_writer_has_the_lock_from_its_start(database, tmp_path):
    other = sqlite3.connect(tmp_path / "a%b c?.sqlite", timeout=0, isolation_level=None)
    with closing(other):
        async with database.writing():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")


async def test_a_second_writer_waits_for_the_first(database):
    order = []

    async def second():
        async with database.writing() as connection:
            order.append("second began")
            await connection.execute(text("INSERT INTO t SELECT max(x) + 1 FROM t"))

    async with database.writing() as connection:
        # Nothing is written yet: only the way the transaction began holds the other one.
        task = asyncio.create_task(second())
        while database.engine.pool.checkedout() < 2:
            await asyncio.sleep(0)
        await connection.execute(text("INSERT INTO t VALUES (1)"))
        order.append("first wrote")
    await task
    assert order == ["first wrote", "second began"]
    assert await _rows(database) == [1, 2]


async def test_a_reader_waits_for_no_writer_and_sees_one_state(database):
    async with database.reading() as reader:
        assert await reader.scalar(text("SELECT count(*) FROM t")) == 0
        async with database.writing() as writer:
            await writer.execute(text("INSERT INTO t VALUES (1)"))
            assert await reader.scalar(text("SELECT count(*) FROM t")) == 0
        assert await reader.scalar(text("SELECT count(*) FROM t")) == 0
    assert await _rows(database) == [1]


@contextmanager
def failing_disk():
    """No file grows: to SQLite a write that fails so (EFBIG) is an I/O error like any other."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


async def test_a_database_whose_disk_fails_says_so_and_goes_on_when_it_works(database):
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with failing_disk(), pytest.raises(DatabaseFailed) as failed:
                async with database.writing() as connection:
                    await connection.execute(text("INSERT INTO t VALUES (1)"))
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO t VALUES (2)"))
    assert str(failed.value).endswith(
        "cannot be written, since its disk fails (I/O error): see what the kernel's log says of it."
    )
    assert [entry["event"] for entry in logs] == ["a database fails", "a database works again"]
    assert await _rows(database) == [2]


async def test_a_database_that_is_full_says_so_and_keeps_nothing_of_the_transaction(database):
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(
                DatabaseFailed, match=r"c\?.sqlite cannot be written, since its disk"
            ):
                async with database.writing() as connection:
                    await connection.execute(text("PRAGMA max_page_count = 1"))
                    await connection.execute(text("INSERT INTO t VALUES (1)"))
                    await connection.execute(text("CREATE TABLE v (x TEXT)"))
        assert len(database.troubles) == 1
        assert await _rows(database) == []
        async with database.writing() as connection:
            await connection.execute(text("PRAGMA max_page_count = 1000"))
            await connection.execute(text("CREATE TABLE v (x TEXT)"))
    assert [entry["event"] for entry in logs] == ["a database fails", "a database works again"]
    assert database.troubles == ()


async def test_a_database_whose_directory_is_gone_is_an_error_of_the_machine(tmp_path):
    before = threads_of_the_driver()
    database = Database(sqlite_url(tmp_path / "none" / "x.sqlite"))
    with pytest.raises(DatabaseFailed, match="cannot be read, since its files cannot be opened"):
        async with database.reading():
            pass
    await database.close()
    # The driver tells its thread to end when it cannot connect, and does not wait: one that answers
    # when this loop is closed would fail the next test.
    async with asyncio.timeout(30):
        while threads_of_the_driver() - before:
            await asyncio.sleep(0.001)


def threads_of_the_driver():
    return {t for t in threading.enumerate() if "_connection_worker_thread" in t.name}


async def test_an_error_of_ours_stays_as_it_is(database):
    with pytest.raises(OperationalError, match="no such table"):
        async with database.reading() as connection:
            await connection.execute(text("SELECT * FROM none"))
    assert database.troubles == ()
