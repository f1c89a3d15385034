import pytest

from gnomon.stats.comparators import Comparison
from gnomon.stats.state import PairState
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.telemetry import ingest, queries
from gnomon.store.telemetry.queries import Position, Scope
from gnomon.testing import frames as build


@pytest.fixture
async def database(tmp_path):
    url = sqlite_url(tmp_path / "telemetry.sqlite")
    await migrate("telemetry", url)
    database = Database(url)
    yield database
    await database.close()


def _metric(**changes):
    row = {
        "endpoint_id": "e1",
        "minute": 10,
        "variant_id": "v1",
        "instance_id": "i1",
        "experiment_id": "x1",
        "name": "n",
    }
    return row | changes


async def _metrics(database, scope):
    async with database.reading() as connection:
        found = await queries.metrics(connection, scope)
    return {
        (item.variant_id, item.instance_id): (
            item.counts,
            {name: histogram.counts for name, histogram in item.histograms.items()},
        )
        for item in found
    }


async def test_counts_of_one_key_add_up_over_transactions(database):
    for value in (1.0, 2.5):
        async with database.writing() as connection:
            await ingest.add_metric_counts(connection, [_metric(value=value)])
    assert await _metrics(database, Scope(experiment_id="x1")) == {("v1", "i1"): ({"n": 3.5}, {})}


async def test_histograms_of_one_key_merge_over_transactions(database):
    for counts in ({1: 1, 2: 1}, {2: 4, 7: 1}):
        async with database.writing() as connection:
            await ingest.add_metric_histograms(connection, [_metric(counts=counts)])
    assert await _metrics(database, Scope(endpoint_id="e1")) == {
        ("v1", "i1"): ({}, {"n": {1: 1, 2: 5, 7: 1}})
    }


async def test_metrics_are_by_variant_and_instance_over_all_minutes(database):
    async with database.writing() as connection:
        await ingest.add_metric_counts(
            connection,
            [
                _metric(value=1.0),
                _metric(value=2.0, minute=11),
                _metric(value=4.0, instance_id="i2"),
                _metric(value=8.0, variant_id="v2", instance_id=""),
                _metric(value=16.0, name="m"),
            ],
        )
    assert await _metrics(database, Scope(experiment_id="x1")) == {
        ("v1", "i1"): ({"n": 3.0, "m": 16.0}, {}),
        ("v1", "i2"): ({"n": 4.0}, {}),
        ("v2", ""): ({"n": 8.0}, {}),
    }


@pytest.mark.parametrize(
    ("scope", "total"),
    [
        (Scope(endpoint_id="e1"), 3.0),
        (Scope(endpoint_id="e2"), 4.0),
        (Scope(experiment_id="x1"), 5.0),
        (Scope(experiment_id="x2"), 2.0),
        (Scope(endpoint_id="e1", from_minute=11), 2.0),
        (Scope(endpoint_id="e1", to_minute=11), 1.0),
        (Scope(endpoint_id="e1", from_minute=10, to_minute=12), 3.0),
    ],
)
async def test_a_scope_takes_its_rows_only(database, scope, total):
    async with database.writing() as connection:
        await ingest.add_metric_counts(
            connection,
            [
                _metric(value=1.0),
                _metric(value=2.0, minute=11, experiment_id="x2"),
                _metric(value=4.0, endpoint_id="e2"),
            ],
        )
        await ingest.add_metric_histograms(
            connection, [_metric(counts={1: 1}, endpoint_id="other", experiment_id="other")]
        )
    assert await _metrics(database, scope) == {("v1", "i1"): ({"n": total}, {})}


@pytest.mark.parametrize("ids", [{}, {"experiment_id": "x", "endpoint_id": "e"}])
def test_a_scope_is_one_experiment_or_one_endpoint(ids):
    with pytest.raises(ValueError, match="one experiment or one endpoint"):
        Scope(**ids)


def _state(*event_ids, at_s=build.AT_S):
    state = PairState(block_us=1_000_000)
    for event_id in event_ids:
        state.add(build.pair(event_id, at_s=at_s), Comparison(same=True))
    return state


def _us(after_s):
    return int((build.AT_S + after_s) * 1e6)


async def test_what_is_kept_of_pairs_is_merged_for_each_analysis(database):
    for analysis, states in (("a", (_state("1"), _state("2", "3"))), ("b", (_state("4"),))):
        for state in states:
            async with database.writing() as connection:
                await ingest.add_pairs(connection, "x1", analysis, _us(1), state)
    async with database.reading() as connection:
        assert await queries.pair_state(connection, "x1", "a") == _state("1", "2", "3")
        assert (await queries.pair_state(connection, "x1", "b")).pairs == 1
        assert await queries.pair_state(connection, "x2", "a") is None


async def test_pairs_are_complete_once_none_from_before_may_come(database):
    async with database.writing() as connection:
        for second in (0, 5):
            state = _state(f"{second}", at_s=build.AT_S + second)
            await ingest.add_pairs(connection, "x1", "a", _us(second + 1), state)
    for before_s, complete in ((0.9, None), (5, 1), (6, 2)):
        async with database.writing() as connection:
            await ingest.settle_pairs(connection, _us(before_s))
        async with database.reading() as connection:
            found = await queries.complete_pairs(connection, "x1", "a")
            assert (await queries.pair_state(connection, "x1", "a")).pairs == 2
            assert await queries.has_pairs_before(connection, _us(6)) is (complete != 2)
        assert (found and found.pairs) == complete
        assert not found or (found.settled.ratios_by_block.blocks, found.blocks) == (complete, {})


async def test_progress_is_noted_now_and_then_however_long_a_test_runs(database):
    for second in range(0, 3600, 5):
        state = _state(f"{second}", at_s=build.AT_S + second)
        async with database.writing() as connection:
            await ingest.add_pairs(connection, "x1", "a", _us(second + 1), state)
            await ingest.settle_pairs(connection, _us(second + 1))
    async with database.reading() as connection:
        points = await queries.pair_progress_of(connection, "x1", "a")
    assert 100 < len(points) < 360
    times = [point.at_s for point in points]
    assert times == sorted(times)
    assert times[1] - times[0] == 10
    assert times[-1] - times[-2] > 30
    assert all(point.blocks.ratios_by_block.blocks == point.pairs for point in points)


async def test_barriers_tell_which_incarnations_reached_them(database):
    async with database.writing() as connection:
        for barrier, incarnation in (("b1", "i1"), ("b1", "i2"), ("b2", "i3"), ("b1", "i1")):
            await ingest.add_barrier(connection, barrier, incarnation, 1.0)
    async with database.reading() as connection:
        assert await queries.reached_barrier(connection, "b1", None) == {"i1", "i2"}
        assert await queries.reached_barrier(connection, "none", None) == frozenset()


async def test_an_incarnation_has_not_reached_a_barrier_for_a_capture_that_is_not_written(database):
    async with database.writing() as connection:
        for incarnation in ("i1", "i2"):
            await ingest.add_barrier(connection, "b1", incarnation, 1.0)
        await ingest.finish_incarnation(connection, "i3", 1.0, cut_off_at_s=None)
        for incarnation in ("i1", "i3"):
            for _ in range(2):
                await ingest.add_unwritten_captures(connection, incarnation, {"c1", "c2"})
        await ingest.set_unwritten_captures(connection, "i3", {"c2"})
    async with database.reading() as connection:
        assert await queries.reached_barrier(connection, "b1", None) == {"i1", "i2", "i3"}
        assert await queries.reached_barrier(connection, "b1", "c1") == {"i2", "i3"}
        assert await queries.reached_barrier(connection, "b1", "c2") == {"i2"}
        assert await queries.reached_barrier(connection, "b2", None) == {"i3"}
        assert await queries.unwritten_captures_of(connection, "i1") == {"c1", "c2"}
        assert await queries.unwritten_captures_of(connection, "i3") == {"c2"}
        # Nothing is to be missing of one that is forgotten.
        assert await queries.finished(connection, ["i1", "i2", "i3"]) == frozenset()


async def test_finished_incarnations_are_told_and_keep_no_positions(database):
    async with database.writing() as connection:
        await ingest.set_position(connection, "i1", 1, 50, objects_done=True)
        await ingest.set_position(connection, "i2", 1, 60, objects_done=False)
        for cut_off_at_s in (2.0, 3.0):
            await ingest.finish_incarnation(connection, "i1", 1.0, cut_off_at_s=cut_off_at_s)
            await ingest.forget_positions(connection, "i1")
    async with database.reading() as connection:
        assert await queries.finished(connection, ["i1", "i2", "i3"]) == {"i1"}
        assert await queries.cut_off(connection, 0.0, 9.0) == [queries.CutOff("i1", 2.0)]
        assert await queries.positions(connection, "i1") == {}
        assert await queries.positions(connection, "i2") == {1: Position(60)}


async def test_a_position_moves(database):
    async with database.writing() as connection:
        await ingest.set_position(connection, "i1", 1, 50, objects_done=False)
        await ingest.set_position(connection, "i1", 1, 70, objects_done=True)
    async with database.reading() as connection:
        assert await queries.positions(connection, "i1") == {1: Position(70, objects_done=True)}


async def test_only_positions_of_done_segments_are_forgotten(database):
    async with database.writing() as connection:
        for number, done in ((1, True), (2, False), (3, True)):
            await ingest.set_position(connection, "i1", number, 9, objects_done=done)
        await ingest.forget_positions_before(connection, "i1", 3)
    async with database.reading() as connection:
        assert await queries.positions(connection, "i1") == {
            2: Position(9),
            3: Position(9, objects_done=True),
        }
