"""The snapshot changes while requests are open: nothing is lost, and barriers wait for the rest."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from gnomon.model.snapshot import Capture, Removed, Update
from gnomon.router import snapshot_file
from gnomon.spool.frames import Barrier, Exchange, Metrics, Pair
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    async with FakeUpstream() as server:
        yield server


def plain(model, **changes):
    return endpoint("demo", variant("prod", model.port), **changes)


def with_shadow(model, shadow, **changes):
    return endpoint(
        "demo",
        variant("prod", model.port),
        shadow=variant("shadow", shadow.port),
        captures=[Capture("c", "x-demo")],
        **changes,
    )


async def test_updates_under_traffic_lose_no_answer(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model))
        done = asyncio.Event()
        statuses = []

        async def ask():
            async with rig.client() as client:
                while not done.is_set():
                    statuses.append((await client.ask(invocation("demo", b"x"))).status)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            for version in range(2, 60):
                kinds = [
                    plain(model, version=version),
                    with_shadow(model, shadow, version=version),
                    endpoint("demo", variant("prod", model.port, shadow.port), version=version),
                    endpoint("demo", variant("other", shadow.port), version=version),
                ]
                await rig.apply(kinds[version % len(kinds)])
                seen = len(statuses)
                await until(lambda seen=seen: len(statuses) > seen + 4)
            done.set()
    assert set(statuses) == {200}
    assert len(model.requests) + len(shadow.requests) >= len(statuses)


async def test_an_update_keeps_connections_to_instances_that_stay(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model))
        async with rig.client() as client:
            await client.ask(invocation("demo"))
            await rig.apply(with_shadow(model, shadow, version=2))
            await client.ask(invocation("demo"))
    assert model.connections == 1


async def test_an_instance_that_left_is_busy_until_its_last_answer(tmp_path, model):
    gate = Gate()
    model.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model))
        async with rig.client() as client:
            await client.send(invocation("demo", b"old"))
            await until(lambda: model.requests)
            await rig.apply(endpoint("demo", variant("prod"), version=2))
            assert rig.router.busy() == (f"prod-{model.port}",)
            gate.open()
            assert (await client.read()).body == b"old"
        assert rig.router.busy() == ()


async def test_a_copy_keeps_a_shadow_busy(tmp_path, model, shadow):
    gate = Gate()
    shadow.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(with_shadow(model, shadow))
        await rig.invoke("demo")
        await rig.apply(plain(model, version=2))
        assert rig.router.busy() == (f"shadow-{shadow.port}",)
        gate.open()
        await until(lambda: rig.router.busy() == ())


async def test_an_endpoint_that_was_removed_is_not_found(tmp_path, model):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model))
        await rig.router.apply(Update(5, (), (Removed("e-demo", 5),)))
        assert (await rig.invoke("demo")).status == 400
        assert rig.router.version == 5


async def test_an_endpoint_made_anew_under_its_name_is_another(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model))
        anew = replace(endpoint("demo", variant("anew", shadow.port)), id="e-anew")
        await rig.router.apply(Update(5, (anew,), (Removed("e-demo", 5),)))
        answer = await rig.invoke("demo")
    assert answer.headers["x-amzn-invoked-production-variant"] == "anew"


async def test_a_barrier_without_open_exchanges_is_written_at_once(tmp_path, model):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model, barriers=["b-1"]))
        assert [barrier.barrier_id for barrier in rig.spool.of(Barrier)] == ["b-1"]


async def test_a_barrier_is_written_once(tmp_path, model):
    async with running_router(tmp_path) as rig:
        await rig.apply(plain(model, barriers=["b-1"]))
        await rig.apply(plain(model, version=2, barriers=["b-1", "b-2"]))
        rig.flush()
    assert [barrier.barrier_id for barrier in rig.spool.of(Barrier)] == ["b-1", "b-2"]


async def test_a_barrier_waits_for_productions_answer(tmp_path, model, shadow):
    gate = Gate()
    model.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(with_shadow(model, shadow))
        async with rig.client() as client:
            await client.send(invocation("demo"))
            await until(lambda: model.requests)
            await rig.apply(plain(model, version=2, barriers=["b-1"]))
            rig.flush()
            assert rig.spool.of(Barrier) == []
            gate.open()
            await client.read()
            await until(lambda: rig.spool.of(Barrier))


async def test_a_barrier_waits_for_the_copies_and_stands_behind_all(tmp_path, model, shadow):
    gate = Gate()
    shadow.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(with_shadow(model, shadow))
        for _ in range(3):
            await rig.invoke("demo")
        await rig.apply(plain(model, version=2, barriers=["b-1"]))
        # What begins after the switch does not hold it up.
        await rig.invoke("demo")
        assert rig.spool.of(Barrier) == []
        gate.open()
        await until(lambda: rig.spool.of(Barrier))
        place = rig.spool.frames.index(rig.spool.of(Barrier)[0])
        before = rig.spool.frames[:place]
        rig.spool.frames = before
        assert len(rig.spool.of(Pair)) == 3
        assert len(rig.spool.of(Exchange)) == 6
        assert rig.spool.counts("v-shadow")["mirrored"] == 3
        experiments = {d.experiment_id for f in rig.spool.of(Metrics) for d in f.deltas}
        assert "x-demo" in experiments


async def test_a_barrier_waits_for_a_spool_that_is_full(tmp_path, model):
    async with running_router(tmp_path) as rig:
        rig.spool.is_full = True
        await rig.apply(plain(model, barriers=["b-1"]))
        rig.spool.is_full = False
        rig.flush()
        assert len(rig.spool.of(Barrier)) == 1


async def test_the_same_entry_again_changes_nothing(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(with_shadow(model, shadow))
        await rig.apply(with_shadow(model, shadow))
        await rig.invoke("demo")
    assert len(rig.spool.of(Pair)) == 1


async def test_a_large_snapshot_is_saved_seldom_and_is_the_last_in_the_end(tmp_path, monkeypatch):
    saved = []
    save = snapshot_file.save

    def noted(path, snapshot, seal):
        saved.append(snapshot.version)
        save(path, snapshot, seal)

    monkeypatch.setattr(snapshot_file, "save", noted)
    async with FakeUpstream() as model, running_router(tmp_path) as rig:
        began_s = time.monotonic()
        await rig.apply(*(endpoint(f"e{n}", variant("v", model.port)) for n in range(400)))
        for version in range(2, 32):
            await rig.apply(endpoint("e0", variant("v", model.port), version=version))
            await rig.invoke("e0")
        # A millisecond of rest for each endpoint, behind each save.
        assert len(saved) <= 1 + (time.monotonic() - began_s) / 0.4
        await until(lambda: saved[-1] == rig.router.version)
