from gnomon.control.routers import RouterRegister
from gnomon.model.snapshot import Incarnation


async def test_a_router_that_served_and_died_while_control_was_away_is_waited_for(control):
    in_spool, read = {"unseen"}, set()

    async def reached(_barrier_id, _capture_id):
        return frozenset(read)

    async def finished(_ids):
        return frozenset()

    register = RouterRegister(control.transactions, reached, finished, lambda: frozenset(in_spool))
    await register.seen(Incarnation("seen", 0, 1, 0.0, "boot"))
    in_spool.add("seen")
    assert await register.missing("barrier", None) == 2
    read.add("seen")
    assert await register.missing("barrier", None) == 1
    # The collector has read it to its end, and removes it.
    read.add("unseen")
    assert await register.missing("barrier", None) == 0
    in_spool.remove("unseen")
    assert await register.missing("barrier", None) == 0
