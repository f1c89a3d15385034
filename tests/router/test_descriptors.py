"""A router that has no descriptor left, and shadows that would take them all."""

import os
import resource

import pytest

from gnomon.model import metric
from gnomon.router import descriptors
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.raw_http import invocation
from gnomon.testing.router_rig import endpoint, running_router, variant

# On a busy machine a connection may take longer than production gives it.
SETTINGS = RouterSettings(drain_idle_s=0.0, connect_time_limit_s=10.0)


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
def limit():
    """Sets this process's soft limit; the one that it had is restored."""
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, former[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, former)


def next_descriptor():
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


async def test_an_instance_is_not_ejected_because_the_router_cannot_connect(tmp_path, model, limit):
    async with running_router(tmp_path, settings=SETTINGS) as rig:
        await rig.apply(endpoint("demo", variant("v", model.port)))
        async with rig.client() as client:
            await client.ask(invocation("none"))
            enough, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            limit(next_descriptor())
            assert (await client.ask(invocation("demo"))).status == 503
            limit(enough)
            assert (await client.ask(invocation("demo"))).status == 200
        rig.flush()
    assert metric.EJECTIONS not in rig.spool.counts("v-v")


async def test_copies_that_cannot_connect_are_dropped(tmp_path, model, limit):
    async with FakeUpstream() as shadow, running_router(tmp_path, settings=SETTINGS) as rig:
        await rig.apply(endpoint("demo", variant("v", model.port)))
        async with rig.client() as client:
            await client.ask(invocation("demo"))
            await rig.apply(
                endpoint(
                    "demo", variant("v", model.port), version=2, shadow=variant("s", shadow.port)
                )
            )
            limit(next_descriptor())
            for _ in range(3):
                assert (await client.ask(invocation("demo"))).status == 200
        rig.flush()
    counts = rig.spool.counts("v-s")
    assert counts["dropped.not_connected"] == counts[metric.SAMPLED] == 3
    assert counts.keys().isdisjoint({metric.EJECTIONS, metric.MODEL_ERRORS, metric.INVOCATIONS})


async def test_a_hung_shadow_leaves_descriptors_to_production(tmp_path, model, limit):
    limit(400)
    async with (
        FakeUpstream(fake_upstream.hang) as shadow,
        running_router(tmp_path, settings=SETTINGS) as rig,
    ):
        await rig.apply(
            endpoint("demo", variant("v", model.port), shadow=variant("s", shadow.port))
        )
        async with rig.client() as client:
            for _ in range(300):
                assert (await client.ask(invocation("demo"))).status == 200
        assert rig.router.copies_in_flight == 100
        rig.flush()
        assert rig.spool.counts("v-s")["dropped.over_budget"] == 200


async def test_connections_that_were_closed_are_free_for_other_copies(tmp_path, model, limit):
    limit(400)
    async with (
        FakeUpstream(fake_upstream.reset) as shadow,
        running_router(tmp_path, settings=SETTINGS) as rig,
    ):
        await rig.apply(
            endpoint("demo", variant("v", model.port), shadow=variant("s", shadow.port))
        )
        async with rig.client() as client:
            for _ in range(300):
                await client.ask(invocation("demo"))
        rig.flush()
    assert rig.spool.counts("v-s")[metric.MIRRORED] > 100


def test_the_limit_can_be_raised_to_the_hard_one(limit):
    limit(400)
    assert descriptors.limit() == 400
    descriptors.raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard == descriptors.limit()
