import os
import shutil
import stat
from pathlib import Path

import pytest

from gnomon.hosting import volumes as module
from gnomon.hosting.volumes import NoRoomInMemory, Volumes, owner_of
from gnomon.model.layout import Layout

MEMORY = Path("/dev/shm")
MIB = 1024 * 1024


@pytest.fixture
def volumes(tmp_path):
    made = Volumes(MEMORY, owner_of(tmp_path))
    yield made
    made.keep_only(())
    assert not made._root.exists()


def test_an_instances_directory_is_in_memory_and_nobody_elses_to_read(volumes):
    directory = volumes.make("i1", 0)
    assert directory.is_relative_to(MEMORY)
    assert volumes.make("i1", 0) == directory
    assert {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory.parent)} == {0o700}


def test_it_goes_with_its_instance_or_when_nobody_knows_the_instance(volumes):
    for name in ("i1", "i2", "i3"):
        (volumes.make(name, 0) / "model").mkdir()
    volumes.discard("i1")
    volumes.discard("i1")
    volumes.keep_only({"i3"})
    assert [path.name for path in volumes.make("i3", 0).parent.iterdir()] == ["i3"]


def test_two_data_directories_have_nothing_in_common(volumes, tmp_path):
    (tmp_path / "other").mkdir()
    other = Volumes(MEMORY, owner_of(tmp_path / "other"))
    mine = volumes.make("i1", 0)
    other.keep_only(())
    assert mine.exists()
    assert other.make("i1", 0) != mine
    other.keep_only(())


def test_a_data_directory_is_told_from_another_at_its_path_and_from_a_copy(tmp_path):
    here = tmp_path / "data"
    here.mkdir()
    first = owner_of(here)
    assert owner_of(here) == first
    copy = shutil.copytree(here, tmp_path / "copy")
    assert owner_of(copy) != first
    # As in another container.
    here.rename(tmp_path / "moved")
    here.mkdir()
    assert owner_of(here) != first


def test_an_id_that_a_power_cut_emptied_is_made_anew(tmp_path):
    owner_of(tmp_path)
    Layout(tmp_path).volumes_id.write_text("")
    found = owner_of(tmp_path)
    assert owner_of(tmp_path) == found
    assert Layout(tmp_path).volumes_id.read_text()


def test_a_disk_is_refused(tmp_path):
    on_disk = Volumes(Path("/proc"), "owner")
    for use in (lambda: on_disk.check(0), lambda: on_disk.make("i1", 0)):
        with pytest.raises(NoRoomInMemory, match="/proc is not in memory"):
            use()


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NoRoomInMemory, match=r"cannot be used \(No such file"):
        Volumes(tmp_path / "none", "owner").check(0)


def test_what_surely_does_not_fit_is_refused_by_its_size(volumes, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda _: 3 * MIB)
    volumes.make("i1", 0)
    volumes.check(3 * MIB)
    for use in (volumes.check, lambda needed: volumes.make("i2", needed)):
        with pytest.raises(NoRoomInMemory, match=r"more than 4\.0 MiB .* 3\.0 MiB are free"):
            use(4 * MIB)
    assert os.listdir(volumes._root) == ["i1"]


def test_a_link_in_its_place_is_not_followed(volumes, tmp_path):
    volumes.make("i1", 0)
    volumes.discard("i1")
    (tmp_path / "disk").mkdir()
    volumes._root.symlink_to(tmp_path / "disk")
    try:
        with pytest.raises(NoRoomInMemory, match="somebody else's"):
            volumes.make("i1", 0)
        assert os.listdir(tmp_path / "disk") == []
    finally:
        volumes._root.unlink()
