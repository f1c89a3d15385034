import numpy as np
import pytest

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats import sequences, simulate
from gnomon.stats.blocks import LOG_UNIT, Block, Settled
from gnomon.stats.comparators import Comparison
from gnomon.stats.figures import Interval
from gnomon.stats.measures import error_rate, slow_down, slow_down_of_blocks
from gnomon.stats.ranked import Ranked
from gnomon.stats.simulate import ALPHA, PAIRS_PER_BLOCK
from gnomon.stats.state import PairState
from gnomon.testing.frames import answer, pair

PROCESSES = list(simulate.PROCESSES)
BLOCK_US = 50_000
SAME = Comparison(same=True)


def gated(process, runs, pairs):
    return [found for found in simulate.calibrate(process, runs, pairs, seed=11) if found.is_gated]


@pytest.mark.parametrize("process", PROCESSES)
def test_the_truth_is_rarely_excluded_in_few_experiments(process):
    # 4,000 pairs are 200 blocks, half of which are looked at.
    found = gated(process, runs=100, pairs=4_000)
    assert len(found) == (3 if process in ("autocorrelated", "bursty") else 11)
    wrong = {item.measure: item.false_exclusions for item in found}
    assert max(wrong.values()) <= simulate.bound(100), wrong


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("process", PROCESSES)
def test_the_truth_is_excluded_at_any_time_in_no_more_than_alpha(process):
    found = simulate.calibrate(process, runs=2_000, pairs=20_000, seed=12)
    wrong = {item.measure: item.false_exclusions for item in found if item.is_gated}
    assert max(wrong.values()) <= simulate.bound(2_000) < 0.065, wrong
    # A t-test that is watched as closely is wrong about as often as not.
    assert min(item.t_test for item in found) > 0.4


def test_a_process_has_the_correlation_time_that_it_is_said_to_have():
    for process in ("autocorrelated", "bursty"):
        values = simulate.log_ratios(process, np.random.default_rng(1), (50, 20_000))
        lag = PAIRS_PER_BLOCK // 10
        product = np.mean(values[:, lag:] * values[:, :-lag])
        assert product == pytest.approx(np.exp(-1), abs=0.02)


@pytest.mark.parametrize("process", PROCESSES)
def test_log_ratios_have_the_mean_that_they_are_simulated_to_have(process):
    values = simulate.log_ratios(process, np.random.default_rng(2), (100, 20_000))
    assert np.mean(values) == pytest.approx(0, abs=0.01)


def test_watching_costs_a_small_factor_of_pairs():
    for found in simulate.power(60, seed=3):
        assert found.fixed_size < found.four_fifths < 5 * found.fixed_size


# --- The looks are those of the measures ----------------------------------------------------------


def state_of(failures):
    """Pairs of which (production's, the shadow's) failed."""
    state = PairState(BLOCK_US)
    for number, (production, shadow) in enumerate(failures):
        sides = [answer(status=500 if failed else 200) for failed in (production, shadow)]
        state.add(at(number, *sides), SAME)
    return state


def at(number, production, shadow):
    at_s = (number + 0.5) / PAIRS_PER_BLOCK * BLOCK_US / 1e6
    return pair(f"event-{number}", at_s=at_s, production=production, shadow=shadow)


@pytest.mark.parametrize("truth", [0.02, 0.03, 0.04, 0.06])
def test_a_look_at_the_slow_down_is_the_measure(truth):
    ratios = np.random.default_rng(5).normal(truth, 0.4, (1, 4_000))
    looks = simulate.slow_down_looks(ratios, 0.0)[0]
    state = PairState(BLOCK_US)
    checked = 0
    for number, ratio in enumerate(ratios[0]):
        shadow_us = round(1e6 * np.exp(ratio))
        state.add(at(number, answer(latency_us=1_000_000), answer(latency_us=shadow_us)), SAME)
        # The first pair of a block completes the one before.
        blocks, others = divmod(number, PAIRS_PER_BLOCK)
        if others or blocks < 100 or number < 1_000:
            continue
        interval = slow_down(state, state.settled_with_open(), ALPHA).interval
        near = min(abs(interval.low - 1), abs(interval.high - 1)) < 2 / LOG_UNIT
        if not near:
            checked += 1
            assert looks[blocks - 1] == (not interval.low <= 1 <= interval.high)
    assert checked > 80


def test_a_look_at_uneven_blocks_is_the_measure():
    generator = np.random.default_rng(5)
    sizes = np.where(generator.random(600) < 0.1, 20, 4)
    ratios = generator.normal(0.05, 0.4, (1, sizes.sum()))
    looks = simulate.block_sum_looks(ratios, sizes, 0.0)[0]
    assert looks.any()
    assert not looks.all()
    settled = Settled()
    for block, sums in enumerate(np.split(ratios[0], np.cumsum(sizes)[:-1])):
        settled.add(Block(len(sums), round(float(sums.sum()) * LOG_UNIT)))
        _, interval = slow_down_of_blocks(settled, BLOCK_US, ALPHA)
        excludes = isinstance(interval, Interval) and not interval.low <= 1 <= interval.high
        if not excludes and isinstance(interval, Interval):
            near = min(abs(interval.low - 1), abs(interval.high - 1)) < 2 / LOG_UNIT
            assert near or not looks[block]
        else:
            assert looks[block] == excludes


def test_a_look_at_a_rate_is_the_sequence():
    successes = np.random.default_rng(6).random((1, 3_000)) < 0.13
    looks = simulate.rate_looks(successes, 0.1, ALPHA)[0]
    assert looks.any()
    assert not looks.all()
    for trials in range(1, 3_000, 50):
        low, high = sequences.rate(int(successes[0, :trials].sum()), trials, ALPHA)
        assert looks[trials - 1] == (not low <= 0.1 <= high)


def test_a_look_at_a_quantile_is_the_interval_between_ranks():
    values = np.random.default_rng(7).normal(0.2, 1, (1, 3_000))
    looks = simulate.quantile_looks(values <= 0.0, 0.5, ALPHA)[0]
    assert looks.any()
    assert not looks.all()
    for trials in range(1, 3_000, 50):
        ordered = np.sort(values[0, :trials]).tolist()
        ranked = Ranked(tuple(ordered), tuple(ordered), tuple(range(1, trials + 1)))
        low, high = ranked.interval(0.5, ALPHA)
        assert looks[trials - 1] == (not low <= 0.0 <= high)


def test_a_look_at_paired_errors_is_the_measure():
    generator = np.random.default_rng(8)
    production, shadow = generator.random((2, 1, 3_000)) < np.array([[[0.05]], [[0.09]]])
    looks = simulate.share_looks(shadow & ~production, production & ~shadow)[0]
    assert looks.any()
    assert not looks.all()
    for trials in range(100, 3_000, 290):
        state = state_of(zip(production[0, :trials], shadow[0, :trials], strict=True))
        found = error_rate(state, state.settled_with_open(), AnalysisSettings(), ALPHA)
        assert looks[trials - 1] == (not found.interval.low <= 0 <= found.interval.high)


def test_a_look_at_fractions_of_blocks_is_the_sequence():
    flags = np.random.default_rng(9).random((1, 8_000)) < 0.14
    looks = simulate.block_looks(flags, 0.1, ALPHA)[0]
    assert looks.any()
    assert not looks.all()
    fractions = flags.reshape(-1, PAIRS_PER_BLOCK).mean(axis=1)
    for blocks in range(1, len(fractions), 20):
        values, times = np.unique(fractions[:blocks], return_counts=True)
        counts = {(float(v), float(v)): int(n) for v, n in zip(values, times, strict=True)}
        low, high = sequences.bounded_mean(counts, ALPHA)
        assert looks[blocks - 1] == (not low <= 0.1 <= high)
