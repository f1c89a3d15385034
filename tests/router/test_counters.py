from gnomon.model import metric
from gnomon.router.counters import Counters
from gnomon.spool.frames import MetricDelta, Metrics
from gnomon.stats.histogram import bucket_of
from gnomon.testing.fake_spool import FakeSpool

NOON_S = 1_700_000_040.0  # the first second of a minute
MINUTE = int(NOON_S) // 60


def test_a_flush_says_what_was_counted_since_the_last():
    spool = FakeSpool()
    counters = Counters(spool)
    cell = counters.cell("e", "v", "i", "x")
    cell.answered(200, 2, 0.001, 0.0001)
    cell.answered(503, 2, 0.002, 0.0001)
    assert counters.flush(NOON_S + 5)
    assert spool.frames == [
        Metrics(
            [
                MetricDelta(
                    "e",
                    "v",
                    "i",
                    "x",
                    MINUTE,
                    {
                        metric.MODEL_ERRORS: 1,
                        metric.ERRORS_5XX: 1,
                        metric.INVOCATIONS: 2,
                        metric.INVOCATIONS_PER_INSTANCE: 1.0,
                        metric.MODEL_LATENCY_US + metric.SUM_SUFFIX: 3000,
                        metric.OVERHEAD_LATENCY_US + metric.SUM_SUFFIX: 200,
                    },
                    {
                        metric.MODEL_LATENCY_US: {bucket_of(1000): 1, bucket_of(2000): 1},
                        metric.OVERHEAD_LATENCY_US: {bucket_of(100): 2},
                    },
                )
            ]
        )
    ]
    assert counters.flush(NOON_S + 6)
    assert len(spool.frames) == 1


def test_a_second_belongs_to_the_minute_in_which_it_was():
    spool = FakeSpool()
    counters = Counters(spool)
    counters.cell("e", "v", "", "").candidate()
    counters.flush(NOON_S)
    assert spool.of(Metrics)[0].deltas[0].minute == MINUTE - 1


def test_what_the_spool_refuses_is_added_up():
    spool = FakeSpool()
    counters = Counters(spool)
    cell = counters.cell("e", "v", "i", "")
    spool.is_full = True
    cell.answered(200, 1, 0.001, 0.0)
    assert not counters.flush(NOON_S + 1)
    cell.answered(404, 1, 0.001, 0.0)
    assert not counters.flush(NOON_S + 2)
    spool.is_full = False
    assert counters.flush(NOON_S + 3)
    assert spool.counts("v") == {
        metric.INVOCATIONS: 2,
        metric.INVOCATIONS_PER_INSTANCE: 2,
        metric.MODEL_ERRORS: 1,
        metric.ERRORS_4XX: 1,
        metric.MODEL_LATENCY_US + metric.SUM_SUFFIX: 2000,
    }
    assert counters.flush(NOON_S + 4)
    assert len(spool.frames) == 1


def test_sampled_is_mirrored_and_dropped():
    spool = FakeSpool()
    counters = Counters(spool)
    cell = counters.cell("e", "v", "", "x")
    for _ in range(3):
        cell.mirrored()
    cell.dropped("over_budget")
    counters.flush(NOON_S)
    assert spool.counts("v") == {
        metric.SAMPLED: 4,
        metric.MIRRORED: 3,
        "dropped.over_budget": 1,
    }
