import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from gnomon.collector.retention import Retention
from gnomon.settings import MetricSettings
from gnomon.stats.histogram import Histogram
from gnomon.store.telemetry import ingest, retention, roll_ups, series
from gnomon.store.telemetry.series import Periods, Variant
from gnomon.store.telemetry.tables import histogram_hours
from gnomon.testing.databases import migrated

VARIANT = Variant("e", "v")
# An hour begins with it.
FIRST = 29_000_040
HOURS = 4
END = FIRST + HOURS * 60


@pytest.fixture
async def database(tmp_path):
    async with migrated("telemetry", tmp_path) as database:
        yield database


async def record(database, minute, value, instance="i", experiment="", variant="v"):
    row = {
        "endpoint_id": "e",
        "minute": minute,
        "variant_id": variant,
        "instance_id": instance,
        "experiment_id": experiment,
        "name": "n",
        "counts": {value: 1},
    }
    async with database.writing() as connection:
        await ingest.add_metric_histograms(connection, [row])


async def roll_up(database, before):
    done = 0
    while done < before:
        async with database.writing() as connection:
            done = await roll_ups.roll_up(connection, before)


async def read(database, periods, variants=(VARIANT,)):
    async with database.reading() as connection:
        found = await series.histograms_by_period(connection, variants, "n", periods)
    return {index: histogram.counts for index, histogram in found.items()}


async def hours(database):
    async with database.reading() as connection:
        found = await connection.execute(select(histogram_hours))
        return {(row.variant_id, row.minute - FIRST): row.counts for row in found}


async def test_an_hour_is_one_row_of_all_instances_and_experiments(database):
    await record(database, FIRST, 1, instance="a")
    await record(database, FIRST + 59, 1, instance="b", experiment="x")
    await record(database, FIRST + 60, 2)
    await record(database, FIRST + 61, 2, variant="w")
    await record(database, FIRST + 120, 3)
    await roll_up(database, FIRST + 120)
    assert sorted(await hours(database)) == [("v", 0), ("v", 60), ("w", 60)]
    assert await read(database, Periods(FIRST, END, 60)) == {0: {1: 2}, 1: {2: 1}, 2: {3: 1}}


async def test_hours_are_read_from_their_sums(database):
    await record(database, FIRST, 1)
    await roll_up(database, FIRST + 60)
    async with database.writing() as connection:
        # They would say otherwise.
        await connection.exec_driver_sql("DELETE FROM metric_histograms")
    assert await read(database, Periods(FIRST, END, 120)) == {0: {1: 1}}
    assert await read(database, Periods(FIRST, END, 5)) == {}
    assert await read(database, Periods(FIRST - 5, END, 60)) == {}
    # The hour lies whole in the first day.
    assert await read(database, Periods(FIRST - 5, END, 1440)) == {0: {1: 1}}


async def test_the_part_of_an_hour_that_is_not_asked_for_is_not_counted(database):
    for offset in (10, 70, 80):
        await record(database, FIRST + offset, offset)
    await roll_up(database, END)
    assert await read(database, Periods(FIRST, FIRST + 75, 60)) == {0: {10: 1}, 1: {70: 1}}
    assert await read(database, Periods(FIRST + 5, FIRST + 60, 60)) == {0: {10: 1}}
    assert await read(database, Periods(FIRST + 75, END, 120)) == {0: {80: 1}}


async def test_what_comes_late_for_a_summed_hour_is_in_its_sum(database):
    await record(database, FIRST + 5, 1)
    await roll_up(database, FIRST + 120)
    await record(database, FIRST + 6, 1, instance="late")
    await record(database, FIRST + 70, 2)
    assert await read(database, Periods(FIRST, END, 60)) == {0: {1: 2}, 1: {2: 1}}


async def test_a_clock_that_goes_back_takes_no_sum_back(database):
    await record(database, FIRST, 1)
    await record(database, FIRST + 61, 2)
    for before in (120, 60, 120):
        await roll_up(database, FIRST + before)
    assert await read(database, Periods(FIRST, END, 60)) == {0: {1: 1}, 1: {2: 1}}


async def test_the_collector_sums_up_hours_that_are_over_and_deletes_the_oldest(database):
    now_m = FIRST + 456 * 1440 + 30
    for minute in (FIRST, FIRST + 2 * 1440, now_m - 31, now_m - 1):
        await record(database, minute, 1)
    kept = Retention(database, MetricSettings(), lambda: now_m * 60.0)
    await kept.look(asyncio.Event())
    assert [minute + FIRST for _, minute in await hours(database)] == [
        FIRST + 2 * 1440,
        now_m - 90,
    ]


OFFSETS = st.integers(0, HOURS * 60 - 1)
RECORDED = st.tuples(
    st.just("record"),
    OFFSETS,
    st.integers(0, 500),
    st.sampled_from("ij"),
    st.sampled_from(["", "x"]),
)
STEPS = st.one_of(
    RECORDED,
    RECORDED,
    st.tuples(st.just("roll_up"), st.integers(0, HOURS)),
    st.tuples(st.just("coarsen"), st.integers(0, HOURS), st.sampled_from([5, 60])),
)
ASKED = st.tuples(
    st.one_of(OFFSETS, st.sampled_from([0, 60])),
    st.integers(0, HOURS * 60),
    st.sampled_from([1, 5, 60, 90, 120, 180]),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=25), st.lists(ASKED, min_size=1, max_size=8))
def test_any_period_is_what_its_fine_histograms_sum_up_to(tmp_path_factory, steps, asked):
    asyncio.run(_is_the_sum(tmp_path_factory.mktemp("roll-ups"), steps, asked))


async def _is_the_sum(path, steps, asked):
    async with migrated("telemetry", path) as database:
        for kind, *given_ in steps:
            if kind == "record":
                offset, value, instance, experiment = given_
                await record(database, FIRST + offset, value, instance, experiment)
            elif kind == "roll_up":
                await roll_up(database, FIRST + given_[0] * 60)
            else:
                async with database.writing() as connection:
                    before = FIRST + given_[0] * 60
                    await retention.coarsen(connection, FIRST, before, given_[1])
        fine = await read(database, Periods(FIRST, END, 1))
        for begins, ends, minutes in asked:
            expected = {}
            for offset, counts in fine.items():
                if begins <= offset < ends:
                    index = (offset - begins) // minutes
                    expected.setdefault(index, Histogram()).merge(counts)
            found = await read(database, Periods(FIRST + begins, FIRST + ends, minutes))
            assert found == {index: whole.counts for index, whole in expected.items()}
