import asyncio
import logging

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate, version_table
from gnomon.store.telemetry import tables


@pytest.fixture
async def database(tmp_path):
    url = sqlite_url(tmp_path / "telemetry.sqlite")
    await migrate("telemetry", url)
    database = Database(url)
    yield database
    await database.close()


def _differences(connection, metadata):
    options = {
        "version_table": version_table("telemetry"),
        "compare_type": True,
        "compare_server_default": True,
    }
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


async def test_migrated_telemetry_is_what_its_tables_say(database):
    async with database.reading() as connection:
        assert await connection.run_sync(_differences, tables.metadata) == []


async def test_the_primary_keys_are_what_the_tables_say(database):
    # Alembic's comparison passes over primary keys.
    async with database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            key = await connection.run_sync(
                lambda sync, name=table.name: inspect(sync).get_pk_constraint(name)
            )
            assert key["constrained_columns"] == [column.name for column in table.primary_key]


async def test_migrating_again_changes_nothing(database):
    await migrate("telemetry", database.engine.url.render_as_string(hide_password=False))
    async with database.reading() as connection:
        assert await connection.run_sync(_differences, tables.metadata) == []


async def test_two_that_migrate_at_once_take_turns(tmp_path):
    url = sqlite_url(tmp_path / "telemetry.sqlite")
    await asyncio.gather(migrate("telemetry", url), migrate("telemetry", url))


async def test_logging_stays_as_it_is(tmp_path):
    logger = logging.getLogger("somebody's")
    before = (logging.root.level, list(logging.root.handlers), logger.disabled)
    await migrate("telemetry", sqlite_url(tmp_path / "telemetry.sqlite"))
    assert (logging.root.level, list(logging.root.handlers), logger.disabled) == before
