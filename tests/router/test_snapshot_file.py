import msgspec
import pytest

from gnomon.model.snapshot import Update
from gnomon.router import snapshot_file
from gnomon.router.seal import Seal
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import endpoint, running_router, until, variant

SEAL = Seal(bytes(32))
SNAPSHOT = Update(7, (endpoint("demo", variant("v", 1234)),))


def test_what_was_saved_is_loaded(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, Update(1), SEAL)
    snapshot_file.save(path, SNAPSHOT, SEAL)
    assert snapshot_file.load(path, SEAL) == SNAPSHOT
    assert list(tmp_path.iterdir()) == [path]


def with_headers(spec, *headers):
    """The endpoint, its first instance with these headers; a second instance has none."""
    (production,) = spec.production
    (instance,) = production.instances
    instances = (
        msgspec.structs.replace(instance, headers=headers),
        msgspec.structs.replace(instance, id="plain"),
    )
    changed = msgspec.structs.replace(production, instances=instances)
    return msgspec.structs.replace(spec, production=(changed,))


SECRET = Update(7, (with_headers(SNAPSHOT.endpoints[0], ("Authorization", "Bearer hush")),))


def test_headers_are_loaded_and_lie_on_disk_sealed(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, SECRET, SEAL)
    assert snapshot_file.load(path, SEAL) == SECRET
    assert b"hush" not in path.read_bytes()
    assert b"Authorization" not in path.read_bytes()


def test_without_the_key_an_instance_with_headers_waits_for_controls_word(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, SECRET, SEAL)
    loaded = snapshot_file.load(path, Seal(bytes([1] * 32)))
    (instance,) = loaded.endpoints[0].production[0].instances
    assert instance.id == "plain"
    # So that control tells all of it.
    assert loaded.version == 0


def test_what_was_sealed_for_another_use_or_changed_does_not_open():
    sealed = SEAL.close(b"data", b"this")
    assert SEAL.open(sealed, b"this") == b"data"
    assert SEAL.open(sealed, b"that") is None
    assert SEAL.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), b"this") is None
    assert SEAL.open(b"", b"this") is None


def test_no_file_is_no_snapshot(tmp_path):
    assert snapshot_file.load(tmp_path / "snapshot", SEAL) is None


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
    snapshot_file.save(path, SNAPSHOT, SEAL)
    path.write_bytes(spoil(path.read_bytes()))
    assert snapshot_file.load(path, SEAL) is None


async def test_a_router_serves_from_disk_when_control_is_away(tmp_path):
    async with FakeUpstream() as model:
        async with running_router(tmp_path) as rig:
            await rig.apply(endpoint("demo", variant("v", model.port)))
            await until(lambda: snapshot_file.load(tmp_path / "snapshot", SEAL))
        async with running_router(tmp_path) as rig:
            assert rig.router.version == 1
            assert (await rig.invoke("demo", b"x")).body == b"x"


async def test_a_router_starts_empty_from_a_damaged_file(tmp_path):
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    async with running_router(tmp_path) as rig:
        assert rig.router.version == 0
        assert (await rig.invoke("demo")).status == 400
