import pytest

from gnomon.model.snapshot import Update
from gnomon.router import snapshot_file
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import endpoint, running_router, until, variant

SNAPSHOT = Update(7, (endpoint("demo", variant("v", 1234)),))


def test_what_was_saved_is_loaded(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, Update(1))
    snapshot_file.save(path, SNAPSHOT)
    assert snapshot_file.load(path) == SNAPSHOT
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_is_no_snapshot(tmp_path):
    assert snapshot_file.load(tmp_path / "snapshot") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"X" + data[1:],
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    ],
)
def test_a_damaged_file_is_no_snapshot(tmp_path, spoil):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, SNAPSHOT)
    path.write_bytes(spoil(path.read_bytes()))
    assert snapshot_file.load(path) is None


async def test_a_router_serves_from_disk_when_control_is_away(tmp_path):
    async with FakeUpstream() as model:
        async with running_router(tmp_path) as rig:
            await rig.apply(endpoint("demo", variant("v", model.port)))
            await until(lambda: snapshot_file.load(tmp_path / "snapshot"))
        async with running_router(tmp_path) as rig:
            assert rig.router.version == 1
            assert (await rig.invoke("demo", b"x")).body == b"x"


async def test_a_router_starts_empty_from_a_damaged_file(tmp_path):
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    async with running_router(tmp_path) as rig:
        assert rig.router.version == 0
        assert (await rig.invoke("demo")).status == 400
