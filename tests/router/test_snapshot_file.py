import asyncio
import contextlib
import socket

import msgspec
import pytest

from gnomon.model.snapshot import FrameKey, Incarnation, Update
from gnomon.router import snapshot_file
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.settings import RouterSettings
from gnomon.testing.fake_control_feed import FakeControlFeed
from gnomon.testing.fake_spool import FakeSpool
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import NOBODY, endpoint, running_router, until, variant

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


KEYED = Update(
    7, (endpoint("demo", variant("v", 1234), kms_key="k", frame_key=FrameKey(b"w", b"hush")),)
)


def test_keys_of_frames_are_loaded_and_lie_on_disk_sealed(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, KEYED, SEAL)
    assert snapshot_file.load(path, SEAL) == KEYED
    assert b"hush" not in path.read_bytes()


def test_without_the_seals_key_an_endpoint_is_served_and_waits_for_its_own(tmp_path):
    path = tmp_path / "snapshot"
    snapshot_file.save(path, KEYED, SEAL)
    loaded = snapshot_file.load(path, Seal(bytes([1] * 32)))
    (spec,) = loaded.endpoints
    assert (spec.production, spec.frame_key) == (KEYED.endpoints[0].production, None)
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


def listener():
    return socket.create_server(("127.0.0.1", 0))


@contextlib.asynccontextmanager
async def started(tmp_path, key, bound):
    """A router that is being started, and the task that starts it."""
    router = Router(
        RouterSettings(drain_idle_s=0.0),
        incarnation=Incarnation("incarnation", 0, 1, 0.0, "boot"),
        spool=FakeSpool(),
        control_address=("127.0.0.1", NOBODY),
        feed_path=tmp_path / "feed.sock",
        snapshot_path=tmp_path / "snapshot",
        seal=Seal(key),
        account_id="123456789012",
        region="eu-central-1",
    )
    starting = asyncio.create_task(router.start(bound, patience_s=0.5))
    yield starting
    await starting
    await router.drain()


def secret_on(model):
    """An endpoint whose one instance is reached with a secret."""
    (production,) = endpoint("demo", variant("v", model.port)).production
    instance = msgspec.structs.replace(production.instances[0], headers=(("X-Key", "hush"),))
    return endpoint("demo", msgspec.structs.replace(production, instances=(instance,)))


async def test_a_successor_has_the_headers_with_control_away(tmp_path):
    async with FakeUpstream() as model:
        snapshot_file.save(tmp_path / "snapshot", Update(3, (secret_on(model),)), SEAL)
        with listener() as bound:
            async with started(tmp_path, bytes(32), bound) as starting:
                await starting
                async with RawClient(bound.getsockname()[1]) as client:
                    assert (await client.ask(invocation("demo", b"x"))).status == 200
    assert model.requests[0].headers["x-key"] == "hush"


async def test_without_the_key_connections_wait_for_controls_word(tmp_path):
    async with FakeUpstream() as model, FakeControlFeed(tmp_path / "feed.sock") as control:
        snapshot_file.save(tmp_path / "snapshot", Update(3, (secret_on(model),)), SEAL)
        with listener() as bound:
            async with started(tmp_path, bytes([1] * 32), bound) as starting:
                client = RawClient(bound.getsockname()[1])
                async with client:
                    await client.send(invocation("demo", b"x"))
                    # Control is to tell all of it.
                    assert (await control.report()).version == 0
                    assert not starting.done()
                    await control.answer(Update(3, (secret_on(model),)))
                    assert (await client.read()).status == 200
    assert [request.headers["x-key"] for request in model.requests] == ["hush"]


async def test_without_the_key_and_control_the_instance_gets_no_request(tmp_path):
    async with FakeUpstream() as model:
        snapshot_file.save(tmp_path / "snapshot", Update(3, (secret_on(model),)), SEAL)
        with listener() as bound:
            async with started(tmp_path, bytes([1] * 32), bound) as starting:
                await starting
                async with RawClient(bound.getsockname()[1]) as client:
                    assert (await client.ask(invocation("demo", b"x"))).status == 503
    assert model.requests == []


async def test_a_router_starts_empty_from_a_damaged_file(tmp_path):
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    async with running_router(tmp_path) as rig:
        assert rig.router.version == 0
        assert (await rig.invoke("demo")).status == 400
