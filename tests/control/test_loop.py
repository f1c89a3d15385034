"""The loop alone: what happens to a pass that fails."""

import asyncio
import dataclasses

import msgspec
import pytest

from gnomon.control.endpoint_loop import EndpointReconciler
from gnomon.control.loop import ControlLoop
from gnomon.control.plan_endpoint import route_of
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state import routing
from gnomon.store.state.instances import add_instance
from gnomon.store.state.resources import ENDPOINTS
from gnomon.testing.builders import a_variant, an_endpoint, an_instance


class FailsOnce:
    """A reconciler whose first pass over anything fails."""

    def __init__(self):
        self.passes = []

    async def restless(self, ids):
        return ids

    async def reconcile(self, id_):
        self.passes.append(id_)
        if len(self.passes) == 1:
            raise OSError("the database is busy")
        return False


class Nothing:
    async def look(self):
        return False

    def keeps(self, _):
        return True


async def test_an_endpoint_whose_pass_failed_is_looked_at_again(control):
    endpoints = FailsOnce()
    loop = ControlLoop(control.transactions, endpoints, Nothing(), Nothing(), Nothing())
    loop.wake("endpoint")
    running = asyncio.create_task(loop.run())

    async def again():
        return len(endpoints.passes) >= 2

    await control.until(again, "a second pass")
    loop.close()
    await running
    assert set(endpoints.passes) == {"endpoint"}


class Notes:
    """A reconciler that finds nothing to do."""

    def __init__(self):
        self.passes = []

    async def restless(self, ids):
        return ids

    async def reconcile(self, id_):
        self.passes.append(id_)
        return False


@pytest.fixture
async def transactions(control, tmp_path):
    """On a database that no other loop looks at."""
    url = sqlite_url(tmp_path / "alone.db")
    await migrate("state", url)
    database = Database(url)
    yield dataclasses.replace(control.transactions, database=database)
    await database.close()


async def test_what_changes_is_looked_at_before_everything_that_rests(transactions):
    async with transactions.call() as call:
        await ENDPOINTS.add(call.connection, an_endpoint(id="changing", status="Updating"))
    endpoints = Notes()
    loop = ControlLoop(transactions, endpoints, Nothing(), Nothing(), Nothing())
    everything = {f"resting-{number}" for number in range(1000)}
    for endpoint_id in everything:
        loop.wake(endpoint_id)
    assert await loop.make_pass() == 0.0
    assert "changing" in endpoints.passes
    assert len(endpoints.passes) < 500
    while await loop.make_pass() == 0.0:
        pass
    assert set(endpoints.passes) == everything | {"changing"}
    # Once a pass: the first one begins with a look at everything there is, itself included.
    assert endpoints.passes.count("changing") == 6


class Restful(Notes):
    """A reconciler of endpoints of which one alone does not rest; it fails to say so at first."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def restless(self, ids):
        self.asked.append(len(ids))
        if len(self.asked) == 1:
            raise OSError("the database is busy")
        return [id_ for id_ in ids if id_ == "ep-7"]


async def test_after_a_start_what_rests_is_seen_to_rest_many_at_once(transactions):
    async with transactions.call() as call:
        for number in range(500):
            endpoint = an_endpoint(id=f"ep-{number}", name=f"n{number}")
            await ENDPOINTS.add(call.connection, endpoint)
    endpoints = Restful()
    loop = ControlLoop(transactions, endpoints, Nothing(), Nothing(), Nothing())
    assert await loop.make_pass() > 0.0, "a look that failed must not become a busy loop"
    while await loop.make_pass() == 0.0:
        pass
    assert endpoints.asked == [200, 200, 200, 100]
    assert endpoints.passes == ["ep-7"]


async def test_an_endpoint_rests_when_nothing_is_lacking_leaving_or_untold(transactions, control):
    reconciler = EndpointReconciler(
        transactions, control.keeper, control.feed, cores=4, has_weight=lambda _: True
    )
    variant = a_variant()

    async def add(call, id_, *instances, told=True, **members):
        endpoint = an_endpoint(id=id_, name=id_, **members)
        await ENDPOINTS.add(call.connection, endpoint)
        own = [msgspec.structs.replace(i, id=f"{id_}-{i.id}", endpoint_id=id_) for i in instances]
        for instance in own:
            await add_instance(call.connection, instance)
        if told:
            await routing.publish(call.connection, id_, 1, route_of(endpoint, own, 1))

    ended = {"status": "Failed", "ended_at_s": transactions.steady_s()}
    async with transactions.call() as call:
        await add(call, "rests", an_instance(variant))
        await add(call, "rests-failed", status="Failed", serving=None, told=False)
        await add(call, "lacks")
        await add(call, "waits", an_instance(variant, **ended))
        await add(call, "untold", an_instance(variant), told=False)
        await add(call, "leaving", an_instance(variant), an_instance(variant, 2, status="Draining"))
        await add(call, "too-many", an_instance(variant), an_instance(variant, 2))
        await add(call, "changing", an_instance(variant), status="Updating")
    ids = ["rests", "rests-failed", "lacks", "waits", "untold", "leaving", "too-many", "changing"]
    assert set(await reconciler.restless([*ids, "nobody"])) == set(ids[2:])
    for id_ in ids[:2]:
        assert not await reconciler.reconcile(id_)
