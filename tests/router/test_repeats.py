"""Production asked twice: how often, what is kept of it, and that no client notices."""

import itertools

import pytest

from gnomon.model import metric
from gnomon.model.snapshot import FrameKey
from gnomon.settings import RouterSettings
from gnomon.spool.frames import Barrier, Noise, Pair
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, until, variant

IN_FLIGHT_SUM = metric.CONCURRENT_REQUESTS + metric.SUM_SUFFIX


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    async with FakeUpstream() as server:
        yield server


def demo(model, shadow, *, noise_share=1.0, **changes):
    return endpoint(
        "demo",
        variant("prod", model.port),
        shadow=variant("shadow", shadow.port),
        noise_share=noise_share,
        **changes,
    )


def production_counts(rig):
    rig.flush()
    return rig.spool.counts("v-prod")


async def test_both_answers_of_production_are_kept_and_the_first_is_the_clients(
    tmp_path, model, shadow
):
    numbers = itertools.count()

    async def count(request, writer):
        await fake_upstream.answer(200, b"%d" % next(numbers))(request, writer)

    model.behaviour = count
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        assert (await rig.invoke("demo", b"body")).body == b"0"
        await until(lambda: rig.spool.of(Noise))
        await until(lambda: rig.spool.of(Pair))
        counts = production_counts(rig)
    (noise,) = rig.spool.of(Noise)
    (pair,) = rig.spool.of(Pair)
    assert (noise.first.body, noise.second.body) == (b"0", b"1")
    assert (noise.experiment_id, noise.event_id) == ("x-demo", pair.event_id)
    original, repeat = model.requests
    assert repeat.body == original.body
    assert repeat.headers == {**original.headers, "x-gnomon-repeat": "1"}
    assert counts[metric.REPEATED] == 1
    # A repeat is no invocation, and has no latency that counts.
    assert counts[metric.INVOCATIONS] == 1


async def test_only_the_share_is_repeated_and_nothing_where_a_client_opts_out(
    tmp_path, model, shadow
):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, noise_share=0.5))
        async with rig.client() as client:
            for _ in range(40):
                await client.ask(invocation("demo"))
            await client.ask(invocation("demo", x_gnomon_mirror="off"))
        await until(lambda: rig.router.copies_in_flight == 0)
        assert 5 < production_counts(rig)[metric.REPEATED] < 35
        assert len(model.requests) == 41 + production_counts(rig)[metric.REPEATED]
        await rig.apply(demo(model, shadow, noise_share=1.0, version=2))
        before = len(model.requests)
        await rig.invoke("demo", x_gnomon_mirror="off")
        assert len(model.requests) == before + 1


async def test_what_production_answers_with_an_error_is_not_repeated(tmp_path, model, shadow):
    model.behaviour = fake_upstream.answer(500, b"no")
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo")
        await until(lambda: rig.spool.of(Pair))
    assert len(model.requests) == 1
    assert rig.spool.of(Noise) == []


async def test_a_repeat_that_is_not_answered_is_counted_and_ejects_nothing(tmp_path, model, shadow):
    asked = itertools.count()

    async def once(request, writer):
        if next(asked):
            await fake_upstream.reset(request, writer)
        else:
            await fake_upstream.echo(request, writer)

    model.behaviour = once
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo")
        await until(lambda: production_counts(rig).get(metric.REPEATS_DROPPED))
        model.behaviour = fake_upstream.echo
        assert (await rig.invoke("demo")).status == 200
        counts = production_counts(rig)
    assert metric.EJECTIONS not in counts
    assert metric.MODEL_ERRORS not in counts


async def test_an_answer_too_long_to_be_compared_is_not_asked_for_again(tmp_path, model, shadow):
    settings = RouterSettings(drain_idle_s=0.0, pair_body_bytes=10)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo", b"x" * 11)
        await until(lambda: rig.spool.of(Pair))
        assert production_counts(rig)[metric.REPEATS_DROPPED] == 1
    assert len(model.requests) == 1


def let_the_second_wait(model):
    """The first request is answered at once, the others when the gate that is returned opens."""
    gate = Gate()
    asked = itertools.count()

    async def second_waits(request, writer):
        await (gate if next(asked) else fake_upstream.echo)(request, writer)

    model.behaviour = second_waits
    return gate


async def test_a_test_ends_for_its_barrier_only_when_the_last_repeat_has(tmp_path, model, shadow):
    gate = let_the_second_wait(model)
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo")
        await until(lambda: len(model.requests) == 2)
        plain = endpoint("demo", variant("prod", model.port), version=2, barriers=("barrier-1",))
        await rig.apply(plain)
        await until(lambda: shadow.requests)
        rig.flush()
        assert rig.spool.of(Barrier) == []
        gate.open()
        await until(lambda: rig.spool.of(Barrier))
        kinds = [type(frame) for frame in rig.spool.frames]
    assert kinds.index(Noise) < kinds.index(Barrier)


async def test_a_pair_does_not_wait_for_its_repeat_which_is_not_in_flight_for_a_client(
    tmp_path, model, shadow
):
    gate = let_the_second_wait(model)
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo", b"x" * 1000)
        await until(lambda: rig.spool.of(Pair))
        await until(lambda: len(model.requests) == 2)
        assert rig.spool.of(Noise) == []
        # What the repeat may still want of the exchange is held.
        assert rig.router._plane.mirror.held_bytes >= 1000
        rig.router._routes.count_in_flight()
        assert production_counts(rig)[IN_FLIGHT_SUM] == 0
        gate.open()
        await until(lambda: rig.spool.of(Noise))
        assert rig.router._plane.mirror.held_bytes == 0
    assert len(rig.spool.of(Pair)) == 1


async def test_the_budget_is_whole_again_when_repeats_have_ended(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        for _ in range(5):
            await rig.invoke("demo", b"x" * 1000)
        await until(lambda: len(rig.spool.of(Noise)) == 5)
        await until(lambda: rig.router.copies_in_flight == 0)
        mirror = rig.router._plane.mirror
        assert mirror.held_bytes == 0


async def test_with_a_key_what_production_answered_twice_is_sealed(tmp_path, model, shadow):
    key = FrameKey(b"wrapped", bytes(32))
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, kms_key="alias/volumes", frame_key=key))
        await rig.invoke("demo")
        await until(lambda: rig.spool.of(Noise))
        assert any(frame is rig.spool.of(Noise)[0] for frame in rig.spool.sealed)
        # Without its data key nothing is kept of it.
        await rig.apply(demo(model, shadow, version=2, kms_key="alias/others"))
        await rig.invoke("demo")
        await until(lambda: production_counts(rig)[metric.REPEATS_DROPPED])
    assert len(rig.spool.of(Noise)) == 1
