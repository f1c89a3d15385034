"""Only instances that are in use are looked after: those that rest cost nothing."""

from __future__ import annotations

import pytest

from gnomon.router.instance import LiveInstance
from gnomon.router.routes import Entry
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
def looked_at(monkeypatch):
    """The instances that were swept and the endpoints whose requests in flight were counted."""
    seen: list[str] = []
    sweep, count = LiveInstance.sweep, Entry.count_in_flight

    def noted_sweep(instance: LiveInstance, now_s: float) -> None:
        seen.append(instance.id)
        sweep(instance, now_s)

    def noted_count(entry: Entry) -> None:
        seen.append(entry.endpoint.name)
        count(entry)

    monkeypatch.setattr(LiveInstance, "sweep", noted_sweep)
    monkeypatch.setattr(Entry, "count_in_flight", noted_count)
    return seen


async def test_an_instance_is_looked_after_from_its_first_request_to_its_last_connection(
    tmp_path, looked_at
):
    async with FakeUpstream() as model, running_router(tmp_path) as rig:
        used, resting = (endpoint(name, variant(name, model.port)) for name in ("used", "resting"))
        await rig.apply(used, resting)
        await rig.invoke("used")
        instance = f"used-{model.port}"
        await until(lambda: instance in looked_at)
        rig.flush()
        assert "used" in looked_at
        assert rig.spool.counts("v-used")["concurrent_requests.sum"] == 0
        # It keeps a connection for a second, and is looked after as long.
        (live,) = rig.router._routes.by_id[used.id].instances.values()
        await until(lambda: live.is_at_rest)
        rig.flush()
        looked_at.clear()
        rig.flush()
        rig.router._sweep()
        assert looked_at == []
        # Used again, it is looked after again.
        await rig.invoke("used")
        rig.router._sweep()
        assert instance in looked_at


async def test_an_instance_that_left_is_looked_after_until_it_rests(tmp_path, looked_at):
    async with FakeUpstream() as model, FakeUpstream() as other, running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", model.port)))
        await rig.invoke("demo")
        await rig.apply(endpoint("demo", variant("prod", other.port), version=2))
        await rig.invoke("demo")
        await until(lambda: f"prod-{other.port}" in looked_at)
        rig.flush()
        looked_at.clear()
        rig.router._sweep()
        assert looked_at == [f"prod-{other.port}"]
