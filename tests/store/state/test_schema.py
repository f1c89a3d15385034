from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate, version_table
from gnomon.store.state.tables import metadata


async def test_the_migrations_make_what_the_tables_say(tmp_path):
    url = sqlite_url(tmp_path / "state.db")
    await migrate("state", url)
    database = Database(url)

    def differences(connection):
        context = MigrationContext.configure(
            connection, opts={"version_table": version_table("state"), "compare_type": True}
        )
        return compare_metadata(context, metadata)

    try:
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()
