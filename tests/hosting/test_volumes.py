import os
import stat
from pathlib import Path

import pytest

from gnomon.hosting import volumes as module
from gnomon.hosting.volumes import NoRoomInMemory, Volumes

MEMORY = Path("/dev/shm")
MIB = 1024 * 1024


@pytest.fixture
def volumes(tmp_path):
    made = Volumes(MEMORY, tmp_path)
    yield made
    made.keep_only(())
    assert not made._root.exists()


def test_an_instances_directory_is_in_memory_and_nobody_elses_to_read(volumes):
    directory = volumes.make("i1")
    assert directory.is_relative_to(MEMORY)
    assert volumes.make("i1") == directory
    assert {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory.parent)} == {0o700}


def test_it_goes_with_its_instance_or_when_nobody_knows_the_instance(volumes):
    for name in ("i1", "i2", "i3"):
        (volumes.make(name) / "model").mkdir()
    volumes.discard("i1")
    volumes.discard("i1")
    volumes.keep_only({"i3"})
    assert [path.name for path in volumes.make("i3").parent.iterdir()] == ["i3"]


def test_two_data_directories_have_nothing_in_common(volumes, tmp_path):
    other = Volumes(MEMORY, tmp_path / "other")
    mine = volumes.make("i1")
    other.keep_only(())
    assert mine.exists()
    assert other.make("i1") != mine
    other.keep_only(())


def test_a_disk_is_refused(tmp_path):
    on_disk = Volumes(Path("/proc"), tmp_path)
    for use in (lambda: on_disk.check(0), lambda: on_disk.make("i1")):
        with pytest.raises(NoRoomInMemory, match="/proc is not in memory"):
            use()


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NoRoomInMemory, match=r"cannot be used \(No such file"):
        Volumes(tmp_path / "none", tmp_path).check(0)


def test_what_surely_does_not_fit_is_refused_by_its_size(volumes, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda _: 3 * MIB)
    volumes.make("i1")
    volumes.check(3 * MIB)
    with pytest.raises(NoRoomInMemory, match=r"more than 4\.0 MiB .* 3\.0 MiB are free"):
        volumes.check(4 * MIB)


def test_a_link_in_its_place_is_not_followed(volumes, tmp_path):
    volumes.make("i1")
    volumes.discard("i1")
    (tmp_path / "disk").mkdir()
    volumes._root.symlink_to(tmp_path / "disk")
    try:
        with pytest.raises(NoRoomInMemory, match="somebody else's"):
            volumes.make("i1")
        assert os.listdir(tmp_path / "disk") == []
    finally:
        volumes._root.unlink()
