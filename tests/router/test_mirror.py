"""Copies to the shadow: how many, what they carry, and that production never notices them."""

import asyncio
import time

import pytest

from gnomon.model import metric
from gnomon.router.mirror import DRAINED
from gnomon.settings import RouterSettings
from gnomon.spool.frames import Complete, Pair
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import NOBODY, endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    async with FakeUpstream() as server:
        yield server


def demo(model, shadow, **changes):
    return endpoint(
        "demo", variant("prod", model.port), shadow=variant("shadow", shadow.port), **changes
    )


def dropped(counts):
    return sum(n for name, n in counts.items() if name.startswith(metric.DROPPED_PREFIX))


async def settled(rig, count):
    """The shadow's counts, once `count` sampled requests are settled."""
    counts = {}

    def is_settled():
        rig.flush()
        counts.update(rig.spool.counts("v-shadow"))
        return counts.get(metric.SAMPLED, 0) >= count

    await until(is_settled)
    assert counts[metric.SAMPLED] == counts.get(metric.MIRRORED, 0) + dropped(counts)
    return counts


async def ask_often(rig, count, body=b"{}"):
    """Production's answers to `count` requests, one after another."""
    async with rig.client() as client:
        return [await client.ask(invocation("demo", body)) for _ in range(count)]


async def test_a_copy_carries_the_same_request_and_the_shadows_name(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo", b"body", content_type="text/csv", cookie="c")
        await until(lambda: shadow.requests)
    (original,), (copy,) = model.requests, shadow.requests
    assert copy.body == original.body
    assert copy.path == original.path
    assert copy.headers == {
        **original.headers,
        "host": f"127.0.0.1:{shadow.port}",
        "x-gnomon-shadow": "shadow",
    }


async def test_the_clients_answer_is_productions(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(500, b"shadow")
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        assert [a.body for a in await ask_often(rig, 5, b"prod")] == [b"prod"] * 5
        counts = await settled(rig, 5)
    assert counts[metric.MIRRORED] == counts[metric.ERRORS_5XX] == 5
    assert counts[metric.CANDIDATES] == 5


async def test_a_share_of_the_requests_is_copied(tmp_path, model, shadow):
    async with running_router(tmp_path, seed=3) as rig:
        await rig.apply(demo(model, shadow, share=0.3))
        await ask_often(rig, 400)
        await until(lambda: rig.router.copies_in_flight == 0)
        rig.flush()
    counts = rig.spool.counts("v-shadow")
    assert counts[metric.CANDIDATES] == 400
    assert 85 <= counts[metric.MIRRORED] <= 155
    assert len(shadow.requests) == counts[metric.MIRRORED] == counts[metric.SAMPLED]


async def test_a_share_of_0_copies_nothing(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, share=0.0))
        await ask_often(rig, 20)
        rig.flush()
    assert rig.spool.counts("v-shadow") == {metric.CANDIDATES: 20}


@pytest.mark.parametrize("word", ["off", "OFF"])
async def test_a_request_that_opts_out_is_not_copied(tmp_path, model, shadow, word):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        assert (await rig.invoke("demo", b"body", x_gnomon_mirror=word)).body == b"body"
        await rig.invoke("demo", b"body", x_gnomon_mirror="on")
        await settled(rig, 1)
    assert len(shadow.requests) == 1
    assert "x-gnomon-mirror" not in model.requests[0].headers
    counts = rig.spool.counts("v-shadow")
    assert (counts[metric.CANDIDATES], counts[metric.OPTED_OUT]) == (2, 1)
    assert (counts[metric.SAMPLED], dropped(counts)) == (1, 0)


async def test_nothing_is_copied_past_the_experiments_end(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, ends_at_s=time.time() - 1))
        await ask_often(rig, 5)
        rig.flush()
    assert shadow.requests == []
    assert rig.spool.counts("v-shadow") == {}
    experiments = {
        delta.experiment_id
        for frame in rig.spool.frames
        for delta in getattr(frame, "deltas", ())
        if delta.variant_id == "v-prod"
    }
    assert experiments == {""}


async def test_a_hung_shadow_is_bounded_and_counted(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.hang
    settings = RouterSettings(mirror_max_in_flight=10, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        answers = await ask_often(rig, 50, b"prod")
        assert {(a.status, a.body) for a in answers} == {(200, b"prod")}
        assert rig.router.copies_in_flight == 10
        counts = await settled(rig, 40)
    assert counts["dropped.over_budget"] == 40
    # The router's end settles the rest.
    rest = rig.spool.counts("v-shadow")
    assert rest[metric.DROPPED_PREFIX + DRAINED] == 10
    assert rest[metric.SAMPLED] == 50


async def test_bodies_that_copies_hold_are_bounded(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.hang
    settings = RouterSettings(mirror_endpoint_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 20, b"x" * 10_000)
        # Each holds the request's body and production's answer, which is as long.
        assert rig.router.copies_in_flight == 5
        counts = await settled(rig, 15)
    assert counts["dropped.over_budget"] == 15


async def test_what_copies_held_is_free_when_they_have_ended(tmp_path, model, shadow):
    settings = RouterSettings(mirror_endpoint_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        for number in range(1, 11):
            await ask_often(rig, 1, b"x" * 30_000)
            await settled(rig, number)
        assert rig.spool.counts("v-shadow")[metric.MIRRORED] == 10


async def test_a_body_that_fits_no_budget_is_not_copied(tmp_path, model, shadow):
    settings = RouterSettings(mirror_endpoint_bytes=1000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 1, b"x" * 1001)
        assert (await settled(rig, 1))["dropped.too_large"] == 1


async def test_a_passed_deadline_is_half_of_a_pair(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.hang
    settings = RouterSettings(model_time_limit_s=0.2, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 1)
        await until(lambda: rig.spool.of(Pair))
        assert rig.router.copies_in_flight == 0
    (pair,) = rig.spool.of(Pair)
    assert pair.production.status == 200
    assert (pair.shadow.status, pair.shadow.failure) == (0, "deadline")
    assert pair.shadow.latency_us == 200_000


async def test_nothing_is_complete_behind_a_copy_that_is_open(tmp_path, model):
    gate = Gate()
    async with FakeUpstream(gate) as shadow, running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        before_s = time.time()
        rig.flush()
        assert rig.spool.of(Complete)[-1].at_s >= before_s
        await ask_often(rig, 1)
        asked_s = time.time()
        rig.flush()
        assert rig.spool.of(Complete)[-1].at_s <= asked_s
        assert rig.spool.of(Pair) == []
        gate.open()
        await until(lambda: not rig.router.copies_in_flight)
        rig.flush()
        (pair,) = rig.spool.of(Pair)
        assert rig.spool.of(Complete)[-1].at_s > pair.at_s
        # It stands before what says that it is there.
        assert rig.spool.frames.index(pair) < rig.spool.frames.index(rig.spool.of(Complete)[-1])
        await rig.apply(endpoint("demo", variant("prod", model.port), version=2))
        said = len(rig.spool.of(Complete))
        rig.flush()
        assert len(rig.spool.of(Complete)) == said


async def test_a_dead_shadow_is_left_alone_after_a_refused_connect(tmp_path, model):
    async with running_router(tmp_path) as rig:
        await rig.apply(
            endpoint("demo", variant("prod", model.port), shadow=variant("shadow", NOBODY))
        )
        answers = await ask_often(rig, 30, b"prod")
        assert {(a.status, a.body) for a in answers} == {(200, b"prod")}
        counts = await settled(rig, 30)
    assert counts[metric.EJECTIONS] == 1
    assert counts["dropped.no_healthy_instance"] >= 20
    assert {pair.shadow.failure for pair in rig.spool.of(Pair)} == {"refused"}


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        (fake_upstream.reset, "reset"),
        (fake_upstream.raw(b"garbage\r\n\r\n"), "malformed"),
    ],
)
async def test_a_shadow_that_fails_fails_alone(tmp_path, model, shadow, behaviour, failure):
    shadow.behaviour = behaviour
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        answers = await ask_often(rig, 10, b"prod")
        assert {(a.status, a.body) for a in answers} == {(200, b"prod")}
        counts = await settled(rig, 10)
    assert counts[metric.MODEL_ERRORS] == counts[metric.FAILED_PREFIX + failure] == 10
    assert {pair.shadow.failure for pair in rig.spool.of(Pair)} == {failure}


async def test_a_slow_shadow_does_not_slow_production(tmp_path, model, shadow):
    gate = Gate()
    shadow.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 20)
        assert rig.router.copies_in_flight == 20
        gate.open()
        assert (await settled(rig, 20))[metric.MIRRORED] == 20
    assert len(rig.spool.of(Pair)) == 20


async def test_an_answer_over_the_limit_is_cut_and_counted(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(200, b"x" * 1_000_000)
    settings = RouterSettings(mirror_max_answer_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 3)
        counts = await settled(rig, 3)
    assert counts["dropped.too_large"] == 3
    assert rig.spool.of(Pair) == []


async def test_an_answer_that_the_budget_cannot_hold_is_cut_and_counted(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(200, b"x" * 1_000_000)
    settings = RouterSettings(mirror_endpoint_bytes=100_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 1)
        assert (await settled(rig, 1))["dropped.over_budget"] == 1
        # What was held is free again.
        shadow.behaviour = fake_upstream.echo
        await ask_often(rig, 1, b"x" * 20_000)
        assert (await settled(rig, 2))[metric.MIRRORED] == 1


async def test_shadows_are_read_no_faster_than_the_limit(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(200, b"x" * 500_000)
    settings = RouterSettings(mirror_read_bytes_per_s=2_000_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        began_s = time.monotonic()
        await ask_often(rig, 1)
        counts = await settled(rig, 1)
        # 500 kB at 2 MB/s, less what may come at once.
        assert time.monotonic() - began_s > 0.1
        assert counts[metric.MIRRORED] == 1


async def test_no_copy_is_made_while_reading_is_held(tmp_path, model, shadow):
    shadow.behaviour = fake_upstream.answer(200, b"x" * 2_000_000)
    settings = RouterSettings(mirror_read_bytes_per_s=2_000_000, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await ask_often(rig, 1)
        await until(lambda: rig.router.is_shadow_reading_held)
        await ask_often(rig, 1)
        assert (await settled(rig, 1))["dropped.read_budget"] == 1


async def test_production_and_shadow_have_connections_of_their_own(tmp_path, model):
    gate = Gate()
    model.behaviour = gate
    settings = RouterSettings(max_connections_per_instance=1, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as rig:
        # One server as both: a pool of one connection is no bottleneck for the other.
        await rig.apply(demo(model, model))
        task = asyncio.create_task(rig.invoke("demo"))
        await until(lambda: len(model.requests) == 2)
        gate.open()
        assert (await task).status == 200


async def test_a_request_that_reached_no_model_is_not_copied(tmp_path, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(
            endpoint("demo", variant("prod", NOBODY), shadow=variant("shadow", shadow.port))
        )
        assert (await rig.invoke("demo")).status == 503
        rig.flush()
    assert shadow.requests == []
    assert rig.spool.counts("v-shadow") == {}
