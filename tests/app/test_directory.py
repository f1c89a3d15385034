import sqlite3

import pytest

from gnomon.app import directory
from gnomon.errors import DataDirectoryError
from gnomon.model.layout import Layout


async def test_it_is_made_ready_more_than_once(tmp_path):
    await directory.prepare(Layout(tmp_path))
    await directory.prepare(Layout(tmp_path))
    assert (tmp_path / "spool").is_dir()


@pytest.mark.parametrize("name", ["state", "telemetry"])
async def test_a_database_of_another_version_is_named(tmp_path, name):
    await directory.prepare(Layout(tmp_path))
    file = tmp_path / f"{name}.db"
    with sqlite3.connect(file) as connection:
        connection.execute(f"update {name}_revision set version_num = 'later'")
    connection.close()
    with pytest.raises(DataDirectoryError, match=rf"database {file} cannot be used: .*later"):
        await directory.prepare(Layout(tmp_path))


async def test_what_stands_in_the_way_of_a_directory_is_named(tmp_path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(DataDirectoryError, match=f"{tmp_path / 'spool'} cannot be made"):
        await directory.prepare(Layout(tmp_path))
