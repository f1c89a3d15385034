import pytest

from gnomon.store.state import steady_time
from gnomon.store.state.instances import add_instance
from gnomon.testing.builders import a_variant, an_instance


@pytest.fixture
async def offset_s(database):
    async def of(boot_id, now_s, monotonic_s):
        async with database.writing() as connection:
            return await steady_time.offset_s(connection, boot_id, now_s, monotonic_s)

    return of


async def test_within_a_run_of_the_machine_it_is_the_monotonic_clock_that_counts(offset_s):
    assert await offset_s("boot", now_s=1000.0, monotonic_s=10.0) == 990.0
    assert await offset_s("boot", now_s=99_000.0, monotonic_s=20.0) == 990.0


async def test_a_new_run_of_the_machine_begins_at_its_clock(offset_s):
    await offset_s("boot", now_s=1000.0, monotonic_s=10.0)
    assert await offset_s("another", now_s=5000.0, monotonic_s=3.0) == 4997.0


async def test_a_machine_that_begins_in_the_past_does_not_go_back(offset_s, database):
    async with database.writing() as connection:
        ended = an_instance(a_variant(), created_at_s=8000.0, ended_at_s=9000.0)
        await add_instance(connection, ended)
    assert await offset_s("boot", now_s=0.0, monotonic_s=1.0) == 8999.0
