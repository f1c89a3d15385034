import asyncio

from gnomon.app.child import Orders, alone


async def test_the_next_one_waits_until_the_one_before_is_gone(tmp_path):
    orders = Orders(asyncio.Event(), asyncio.Event(), bytes(32))
    order = []

    async def next_one():
        async with alone(tmp_path / "lock", orders) as is_alone:
            order.append(("next", is_alone))

    async with alone(tmp_path / "lock", orders) as is_alone:
        assert is_alone
        waiting = asyncio.create_task(next_one())
        # It has tried at least once when it comes to its pause.
        while not waiting.get_coro().cr_await:
            await asyncio.sleep(0)
        order.append("before")
    await waiting
    assert order == ["before", ("next", True)]


async def test_one_that_is_told_to_end_while_it_waits_does_not_begin(tmp_path):
    orders = Orders(asyncio.Event(), asyncio.Event(), bytes(32))
    orders.orphaned.set()
    async with alone(tmp_path / "lock", orders) as first:
        assert first
        async with alone(tmp_path / "lock", orders) as second:
            assert not second
