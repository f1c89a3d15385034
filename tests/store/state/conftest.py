import pytest

from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate


@pytest.fixture
async def database(tmp_path):
    url = sqlite_url(tmp_path / "state.db")
    await migrate("state", url)
    database = Database(url)
    yield database
    await database.close()
