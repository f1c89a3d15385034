"""The loop alone: what happens to a pass that fails."""

import asyncio

from gnomon.control.loop import ControlLoop


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
