"""The loop alone: what happens to a pass that fails."""

import asyncio
import dataclasses

import pytest

from gnomon.control.loop import ControlLoop
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state.resources import ENDPOINTS
from gnomon.testing.builders import an_endpoint


class FailsOnce:
    """A reconciler whose first pass over anything fails."""

    def __init__(self):
        self.passes = []

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
