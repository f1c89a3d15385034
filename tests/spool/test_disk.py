"""The disk, its stand-in, and when too little of it is free."""

import pytest

from gnomon.spool.disk import MachineDisk, shortage
from gnomon.testing.fake_disk import FakeDisk


@pytest.fixture(params=[MachineDisk, FakeDisk])
def disk(request):
    return request.param()


def test_what_is_free_is_said_of_a_directory_that_is_there(disk, tmp_path):
    assert disk.free_bytes(tmp_path) > 0
    with pytest.raises(FileNotFoundError):
        disk.free_bytes(tmp_path / "none")


def test_buffers_are_appended_in_order(disk, tmp_path):
    with (tmp_path / "file").open("ab") as file:
        assert disk.writev(file.fileno(), [b"a", b"", b"bc"]) == 3
        assert disk.writev(file.fileno(), [b"d"]) == 1
    assert (tmp_path / "file").read_bytes() == b"abcd"


@pytest.mark.parametrize(
    ("free", "before", "after"),
    [
        (100, 0, 0),
        (99, 0, 1),
        (50, 0, 1),
        (49, 0, 2),
        # What was dropped is kept again only with a quarter more.
        (124, 1, 1),
        (125, 1, 0),
        (62, 2, 2),
        (63, 2, 1),
        (124, 2, 1),
        (125, 2, 0),
    ],
)
def test_captures_go_below_the_floor_and_pairs_below_half_of_it(free, before, after):
    assert shortage(free, 100, before) == after


def test_without_a_floor_space_is_never_short():
    assert shortage(0, 0, 0) == 0
