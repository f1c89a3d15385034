import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.collector.retention import Retention
from gnomon.settings import MetricSettings
from gnomon.stats.blocks import Block
from gnomon.stats.state import PairState
from gnomon.store.telemetry import ingest, queries, retention, series
from gnomon.store.telemetry.queries import Scope
from gnomon.store.telemetry.series import Periods, Variant
from gnomon.testing.databases import migrated

DAY_M = 24 * 60
# The first minute of an hour, as is that of every day before it.
NOW_M = 29_000_040
VARIANT = Variant("e", "v")


@pytest.fixture
async def database(tmp_path):
    async with migrated("telemetry", tmp_path) as database:
        yield database


async def record(database, minute, value, instance="i"):
    key = {
        "endpoint_id": "e",
        "minute": minute,
        "variant_id": "v",
        "instance_id": instance,
        "experiment_id": "x",
        "name": "n",
    }
    async with database.writing() as connection:
        await ingest.add_metric_counts(connection, [{**key, "value": value}])
        await ingest.add_metric_histograms(connection, [{**key, "counts": {value: 1}}])


async def minutes(database, name="n"):
    async with database.reading() as connection:
        whole = Periods(0, NOW_M + 1, 1)
        counts = await series.counts_by_period(connection, [VARIANT], name, whole)
        histograms = await series.histograms_by_period(connection, [VARIANT], name, whole)
    return counts, {minute: found.counts for minute, found in histograms.items()}


def keeper(database, **kept):
    return Retention(database, MetricSettings(**kept), lambda: NOW_M * 60.0)


async def test_old_minutes_are_added_up_to_what_is_kept_at_their_age(database):
    young, older, oldest = NOW_M - 14 * DAY_M, NOW_M - 16 * DAY_M, NOW_M - 64 * DAY_M
    for begins in (young, older, oldest):
        for offset in (0, 3, 4, 5, 30):
            await record(database, begins + offset, offset + 1)
        await record(database, begins + 4, 7, instance="j")
    await keeper(database).look(asyncio.Event())
    counts, histograms = await minutes(database)

    def at(begins):
        begins -= begins % 60
        return {
            minute - begins: value for minute, value in counts.items() if 0 <= minute - begins < 60
        }

    assert at(young) == {0: 1, 3: 4, 4: 12, 5: 6, 30: 31}
    assert at(older) == {0: 17, 5: 6, 30: 31}
    assert at(oldest) == {0: 54}
    assert histograms[oldest] == {1: 1, 4: 1, 5: 1, 7: 1, 6: 1, 31: 1}


async def test_what_is_older_than_an_hours_is_deleted(database):
    await record(database, NOW_M - 456 * DAY_M, 1)
    await record(database, NOW_M - 454 * DAY_M, 2)
    await keeper(database).look(asyncio.Event())
    counts, histograms = await minutes(database)
    assert list(counts.values()) == [2]
    assert len(histograms) == 1


async def test_what_comes_late_is_added_up_by_the_next_collector(database):
    minute = NOW_M - 20 * DAY_M
    minute -= minute % 5
    await record(database, minute + 1, 1)
    await keeper(database).look(asyncio.Event())
    await record(database, minute + 2, 2)
    await keeper(database).look(asyncio.Event())
    assert (await minutes(database))[0] == {minute: 3}


async def pair_up(database, minute, experiment, analysis="a"):
    async with database.writing() as connection:
        key = {"endpoint_id": "e", "minute": minute, "variant_id": "v", "instance_id": "i"}
        row = {**key, "experiment_id": experiment, "name": "pairs", "value": 1.0}
        await ingest.add_metric_counts(connection, [row])
        state = PairState(1_000_000, pairs=1)
        state.blocks = {minute * 60: Block(pairs=1, ratios=1), minute * 60 + 1: Block()}
        ends_us = (minute * 60 + 2) * 1_000_000
        await ingest.add_pairs(connection, experiment, analysis, ends_us, state)
        await ingest.settle_pairs(connection, ends_us)
        await ingest.add_label_key(connection, experiment, b"wrapped")
        await ingest.add_barrier(connection, f"end of {experiment}", "router", minute * 60.0)


async def kept_of(database, experiment, analysis="a"):
    async with database.reading() as connection:
        state = await queries.pair_state(connection, experiment, analysis)
        progress = await queries.pair_progress_of(connection, experiment, analysis)
        keys = await queries.label_keys_of(connection, [experiment])
        barrier = await queries.reached_barrier(connection, f"end of {experiment}", None)
    assert (experiment in keys) == (state is not None)
    return state is not None, len(progress), len(barrier)


async def test_an_experiments_pairs_go_with_the_last_of_its_metrics(database):
    old, young = NOW_M - 456 * DAY_M, NOW_M - 454 * DAY_M
    await pair_up(database, old, "over")
    await pair_up(database, old + 1, "over", "another analysis")
    await pair_up(database, old, "long")
    await pair_up(database, young, "long")
    await pair_up(database, young, "young")
    assert await kept_of(database, "over") == (True, 1, 1)
    await keeper(database).look(asyncio.Event())
    assert await kept_of(database, "over") == (False, 0, 0)
    assert await kept_of(database, "over", "another analysis") == (False, 0, 0)
    assert await kept_of(database, "long") == (True, 2, 0)
    assert await kept_of(database, "young") == (True, 1, 1)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9), st.sampled_from("ab")), max_size=30)
)
def test_sums_and_histograms_of_an_experiment_are_the_same_before_and_after(tmp_path_factory, rows):
    asyncio.run(_same_before_and_after(tmp_path_factory.mktemp("retention"), rows))


async def _same_before_and_after(path, rows):
    scope = Scope(experiment_id="x")
    async with migrated("telemetry", path) as database:
        for minute, value, instance in rows:
            await record(database, minute, value, instance)
        async with database.reading() as connection:
            before = _plain(await queries.metrics(connection, scope))
        done = 0
        while done < 300:
            async with database.writing() as connection:
                done = await retention.coarsen(connection, done, 300, 5)
        async with database.reading() as connection:
            assert _plain(await queries.metrics(connection, scope)) == before
        counts, _ = await minutes(database)
        assert all(minute % 5 == 0 for minute in counts if minute < 300)


def _plain(found):
    return {
        item.instance_id: (item.counts, {n: h.counts for n, h in item.histograms.items()})
        for item in found
    }
