import math

import numpy as np
import pytest
from scipy import stats

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats import measures, sequences
from gnomon.stats.comparators import Comparison
from gnomon.stats.figures import Inconclusive, Interval
from gnomon.stats.state import PairState
from gnomon.testing.frames import answer, pair

ALPHA = 0.05
BLOCK_US = 50_000
PER_S = 400
SAME = Comparison(same=True)
BY_PAIRS = AnalysisSettings()
BY_BLOCKS = AnalysisSettings(dependence="blocks")
LATE = {"status": 0, "failure": "deadline", "latency_us": 60_000_000}


def add(state, number, production=None, shadow=None, comparison=SAME):
    sides = [answer(**(side or {})) for side in (production, shadow)]
    state.add(
        pair(f"event-{number:06}", at_s=number / PER_S, production=sides[0], shadow=sides[1]),
        comparison,
    )


def state_of(production_us, shadow_us):
    """Pairs with these latencies; None in the shadow's is a passed deadline."""
    state = PairState(BLOCK_US)
    for number, (mine, its) in enumerate(zip(production_us, shadow_us, strict=True)):
        shadow = LATE if its is None else {"latency_us": int(its)}
        add(state, number, {"latency_us": int(mine)}, shadow)
    return state


def drawn(pairs, factor=1.0, seed=1):
    generator = np.random.default_rng(seed)
    production = generator.lognormal(9, 0.5, pairs).astype(int)
    return production, (production * factor * generator.lognormal(0, 0.3, pairs)).astype(int)


def slow_down(state, alpha=ALPHA):
    return measures.slow_down(state, state.settled_with_open(), alpha)


def differing(same, *paths):
    return SAME if same else Comparison(False, "body", paths, 1.0)


# --- Latency --------------------------------------------------------------------------------------


def test_the_typical_slow_down_is_numpys_mean_of_log_ratios_over_blocks():
    production, shadow = drawn(4_001, factor=1.2)
    found = slow_down(state_of(production, shadow))
    ratios = np.log(shadow / production)
    means = ratios[:4_000].reshape(-1, 20).mean(axis=1)
    margin = means.std(ddof=1) * sequences.mean_margin(200, ALPHA)
    assert found.change == pytest.approx(np.exp(means.mean()), rel=1e-3)
    assert found.interval.low == pytest.approx(np.exp(means.mean() - margin), rel=1e-3)
    assert found.interval.high == pytest.approx(np.exp(means.mean() + margin), rel=1e-3)
    assert found.production == pytest.approx(stats.gmean(production) / 1000, rel=1e-3)
    assert found.shadow == pytest.approx(stats.gmean(shadow) / 1000, rel=1e-3)
    assert found.pairs == 4_001
    assert "200 blocks of 0.05 s" in found.method


def test_too_few_blocks_are_inconclusive():
    found = slow_down(state_of(*drawn(1_000)))
    assert found.interval == Inconclusive(
        "There are 49 complete blocks of 0.05 s with 980 ratios, as even as 48 equal blocks; it "
        "takes 100, and 1000 ratios."
    )
    assert found.change is not None


def uneven(blocks, *, factor=1.5, failing_every=0):
    """One block in ten has a hundred pairs, of a shadow that is slow then, the others have one."""
    generator = np.random.default_rng(4)
    state = PairState(BLOCK_US)
    ratios = []
    for block in range(blocks):
        busy = block % 10 == 0
        found = np.log(factor if busy else 1.0) + generator.normal(0, 0.1, 100 if busy else 1)
        for number, ratio in enumerate(found):
            fails = busy and failing_every and number % failing_every == 0
            state.add(
                pair(
                    f"event-{block}-{number}",
                    at_s=(block + (number + 0.5) / 200) * BLOCK_US / 1e6,
                    production=answer(latency_us=1_000_000),
                    shadow=answer(
                        latency_us=round(1e6 * np.exp(ratio)), status=500 if fails else 200
                    ),
                ),
                SAME,
            )
        ratios.append(found)
    return state, ratios


def test_a_shadow_that_is_slow_when_there_is_much_to_do_does_not_hide_behind_quiet_blocks():
    state, ratios = uneven(2_001)
    found = slow_down(state)
    sizes, sums = (np.array([of(block) for block in ratios[:-1]]) for of in (len, np.sum))
    mean = sums.sum() / sizes.sum()
    deviation = np.sqrt(np.sum((sums - mean * sizes) ** 2) / (len(sizes) - 1))
    margin = deviation * sequences.mean_margin(2_000, ALPHA) * 2_000 / sizes.sum()
    assert found.change == pytest.approx(np.exp(mean), rel=1e-3)
    assert found.change == pytest.approx(found.shadow / found.production, rel=1e-3)
    assert found.interval.low == pytest.approx(np.exp(mean - margin), rel=1e-3)
    assert found.interval.high == pytest.approx(np.exp(mean + margin), rel=1e-3)
    assert 1.4 < found.interval.low < 1.448 < found.interval.high < 1.5


def test_blocks_that_hold_nearly_all_pairs_are_counted_as_what_they_are():
    state, _ = uneven(800)
    reason = slow_down(state).interval.reason
    assert reason.startswith("There are 799 complete blocks of 0.05 s with 8719 ratios, as even as")
    assert "as even as 94 equal blocks; it takes 100" in reason


def test_errors_under_load_do_not_hide_behind_quiet_blocks():
    state, _ = uneven(2_001, failing_every=20)
    assert error_rate(state).interval.low > 0.03
    found = error_rate(state, BY_BLOCKS)
    assert found.change == pytest.approx(0.046, abs=0.001)
    assert "unlike those with few" in found.interval.reason


def test_ratios_that_are_all_equal_are_inconclusive():
    found = slow_down(state_of([1000] * 4_000, [1000] * 4_000))
    assert isinstance(found.interval, Inconclusive)
    assert "same ratio" in found.interval.reason


@pytest.mark.parametrize("name", ["p50", "p90", "p99"])
def test_a_quantiles_factor_is_around_numpys_and_from_both_sequences(name):
    production, shadow = drawn(8_000, factor=1.3)
    found = measures.quantile(name, state_of(production, shadow), ALPHA)
    share = int(name[1:]) / 100
    exact = [np.quantile(side, share, method="inverted_cdf") for side in (production, shadow)]
    assert found.production == pytest.approx(exact[0] / 1000, rel=0.01)
    assert found.shadow == pytest.approx(exact[1] / 1000, rel=0.01)
    assert found.interval.low < exact[1] / exact[0] < found.interval.high
    low, high = sequences.ranks(share, 8_000, ALPHA / 2)
    ordered, shadow_ordered = np.sort(production), np.sort(shadow)
    widest = shadow_ordered[high - 1] / ordered[low - 1]
    assert widest <= found.interval.high <= widest * 1.04
    narrowest = shadow_ordered[low - 1] / ordered[high - 1]
    assert narrowest / 1.04 <= found.interval.low <= narrowest


def test_the_mean_is_shown_without_an_interval():
    production, shadow = drawn(2_000)
    found = measures.mean_latency(state_of(production, shadow))
    assert found.production == pytest.approx(production.mean() / 1000, rel=0.01)
    assert found.shadow == pytest.approx(shadow.mean() / 1000, rel=0.01)
    assert isinstance(found.interval, Inconclusive)


def test_a_shadow_that_times_out_on_its_slowest_does_not_look_faster():
    production, whole = drawn(6_000)
    slowest = np.quantile(whole, 0.98)
    cut = [None if value > slowest else value for value in whole]
    state, uncut = state_of(production, cut), state_of(production, whole)
    p99 = measures.quantile("p99", state, ALPHA)
    assert p99.shadow == 60_000
    assert p99.interval.high is None
    assert p99.interval.low > 10
    assert slow_down(state).change > slow_down(uncut).change
    assert slow_down(state).interval.low > 1
    errors = measures.error_rate(state, state.settled_with_open(), BY_PAIRS, ALPHA)
    assert errors.interval.low > 0.01
    for name in ("p50", "p90"):
        assert measures.quantile(name, state, ALPHA).interval == (
            measures.quantile(name, uncut, ALPHA).interval
        )


def test_no_pairs_are_inconclusive_in_every_measure():
    state = PairState(BLOCK_US)
    blocks = state.settled_with_open()
    found = [
        slow_down(state),
        measures.mean_latency(state),
        *(measures.quantile(name, state, ALPHA) for name in ("p50", "p90", "p99")),
        measures.error_rate(state, blocks, BY_PAIRS, ALPHA),
        measures.error_rate(state, blocks, BY_BLOCKS, ALPHA),
        measures.disagreement(state, blocks, BY_PAIRS, ALPHA),
        measures.task_measure(state, "classification", ALPHA),
        measures.task_measure(state, "regression", ALPHA),
    ]
    for measure in found:
        assert isinstance(measure.interval, Inconclusive), measure
        assert (measure.production, measure.shadow, measure.change) == (None, None, None)
    assert measures.task_measure(state, "generic", ALPHA) is None


# --- Rates ----------------------------------------------------------------------------------------


def failing(pairs, only_production, only_shadow, both=0):
    state = PairState(BLOCK_US)
    bad = {"status": 500}
    kinds = [(bad, None)] * only_production + [(None, bad)] * only_shadow + [(bad, bad)] * both
    kinds += [(None, None)] * (pairs - len(kinds))
    # Spread over the blocks, as if nobody had sorted them.
    np.random.default_rng(2).shuffle(kinds)
    for number, (production, shadow) in enumerate(kinds):
        add(state, number, production, shadow)
    return state


def error_rate(state, settings=BY_PAIRS):
    return measures.error_rate(state, state.settled_with_open(), settings, ALPHA)


def test_an_error_rates_difference_is_from_the_pairs_that_are_of_two_minds():
    found = error_rate(failing(2_000, 10, 50, both=100))
    assert found.production == pytest.approx(0.055)
    assert found.shadow == pytest.approx(0.075)
    assert found.change == pytest.approx(0.02)
    rate = sequences.rate(60, 2_000, ALPHA / 2)
    share = sequences.rate(50, 60, ALPHA / 2)
    assert found.interval == Interval(
        rate[0] * (2 * share[0] - 1), rate[1] * (2 * share[1] - 1), 1 - ALPHA
    )
    assert found.assumes == "assumes independent pairs"


def test_errors_of_both_say_nothing_of_the_difference():
    assert error_rate(failing(2_000, 5, 5, both=900)).interval == (
        error_rate(failing(2_000, 5, 5)).interval
    )


def test_a_worse_production_has_a_difference_below_zero():
    interval = error_rate(failing(4_000, 200, 5)).interval
    rate = sequences.rate(205, 4_000, ALPHA / 2)
    share = sequences.rate(5, 205, ALPHA / 2)
    assert interval.low == pytest.approx(rate[1] * (2 * share[0] - 1))
    assert interval.high == pytest.approx(rate[0] * (2 * share[1] - 1))
    assert interval.high < 0


@pytest.mark.parametrize("settings", [BY_PAIRS, BY_BLOCKS])
def test_no_errors_bound_the_difference_both_ways(settings):
    interval = error_rate(failing(8_000, 0, 0), settings).interval
    assert interval.low == pytest.approx(-interval.high, abs=1e-5)
    assert 0 < interval.high < 0.02


def test_over_blocks_the_difference_is_that_of_two_fractions_by_betting():
    state = failing(8_000, 100, 400)
    found = error_rate(state, BY_BLOCKS)
    assert found.interval.low < 300 / 8_000 < found.interval.high
    assert found.interval.low > 0
    assert "betting" in found.method
    assert "independent" not in found.assumes


def disagreement(state, settings=BY_PAIRS):
    return measures.disagreement(state, state.settled_with_open(), settings, ALPHA)


def compared(pairs, *, noise=0, label_every=0, at=False, noisy_at=False):
    """Pairs that differ at /label every so often, and at /at always; and production twice."""
    state = PairState(BLOCK_US)
    for number in range(pairs):
        paths = ["/at"] if at else []
        if label_every and number % label_every == 0:
            paths.append("/label")
        add(state, number, comparison=differing(not paths, *paths))
    for number in range(noise):
        state.add_noise(f"event-{number}", differing(not noisy_at, "/at"))
    return state


def test_a_disagreement_is_a_rate():
    found = disagreement(compared(2_000, label_every=10))
    low, high = sequences.rate(200, 2_000, ALPHA)
    assert (found.shadow, found.production) == (0.1, None)
    assert found.interval == Interval(low, high, 1 - ALPHA)


def test_answers_that_cannot_be_compared_are_not_agreement():
    state = PairState(BLOCK_US)
    for number in range(100):
        add(state, number, comparison=Comparison(None, "truncated"))
    assert isinstance(disagreement(state).interval, Inconclusive)


def test_a_path_that_is_noise_is_left_out_and_the_rest_is_seen():
    state = compared(4_000, label_every=10, at=True, noise=400, noisy_at=True)
    assert measures.noise_paths(state) == {"/at"}
    found = disagreement(state)
    assert (found.shadow, found.production) == (0.1, 0.0)
    assert 0.05 < found.interval.low < 0.1 < found.interval.high < 0.15


def test_a_path_that_differs_now_and_then_in_production_too_is_no_noise_but_counts_less():
    state = compared(4_000, label_every=10)
    for number in range(2_000):
        state.add_noise(f"event-{number}", differing(number % 20, "/label"))
    found = disagreement(state)
    assert measures.noise_paths(state) == frozenset()
    assert found.production == pytest.approx(0.05)
    low, high = sequences.rate(400, 4_000, ALPHA / 2)
    noise_low, noise_high = sequences.rate(100, 2_000, ALPHA / 2)
    assert found.interval == Interval(low - noise_high, high - noise_low, 1 - ALPHA)
    assert found.change == pytest.approx(0.05)


def test_noise_that_was_asked_for_is_waited_for():
    settings = AnalysisSettings(noise_share=0.1)
    few, enough = (compared(4_000, at=True, noise=n, noisy_at=True) for n in (20, 200))
    assert isinstance(disagreement(few, settings).interval, Inconclusive)
    assert disagreement(enough, settings).interval.high < 0.05


def test_too_many_ways_to_differ_cannot_be_told_from_noise():
    state = compared(100, noise=400, noisy_at=True)
    for number in range(300):
        add(state, number, comparison=differing(False, "/at", f"/{number}"))
    assert "ignored_paths" in disagreement(state).interval.reason


def test_a_disagreement_over_blocks_is_by_betting():
    found = disagreement(compared(8_000, label_every=10), BY_BLOCKS)
    assert found.interval.low < 0.1 < found.interval.high
    assert found.interval.low > 0.05
    assert "betting" in found.method


# --- Tasks ----------------------------------------------------------------------------------------


def predicted(*predictions):
    state = PairState(BLOCK_US)
    for number, found in enumerate(predictions):
        add(state, number, comparison=Comparison(same=True, predictions=(found,)))
    return state


def test_agreement_is_the_share_of_pairs_whose_labels_are_equal():
    state = predicted(*[("cat", "cat")] * 90, *[("cat", "dog")] * 10)
    found = measures.task_measure(state, "classification", ALPHA)
    assert (found.name, found.change) == ("agreement", 0.9)
    assert found.interval == Interval(*sequences.rate(90, 100, ALPHA), 1 - ALPHA)


def test_the_median_difference_has_an_interval_by_ranks():
    generator = np.random.default_rng(4)
    production = generator.lognormal(0, 2, 3_000)
    shadow = production + generator.standard_cauchy(3_000) + 0.5
    state = predicted(*zip(production.tolist(), shadow.tolist(), strict=True))
    found = measures.task_measure(state, "regression", ALPHA)
    assert found.change == pytest.approx(np.median(shadow - production), rel=0.05)
    assert found.interval.low < 0.5 < found.interval.high
    assert found.interval.high - found.interval.low < 0.5


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_widen_the_median_and_many_leave_none(odd):
    pairs = [(0.0, float(n)) for n in range(1_000)]
    whole = measures.task_measure(predicted(*pairs), "regression", ALPHA)
    some = measures.task_measure(predicted(*pairs, *[(0.0, odd)] * 50), "regression", ALPHA)
    many = measures.task_measure(predicted(*[(0.0, odd)] * 1_000), "regression", ALPHA)
    assert some.interval.low < whole.interval.low < whole.interval.high < some.interval.high
    assert some.change is None
    assert isinstance(many.interval, Inconclusive)
    assert (many.production, many.change) == (None, None)


def test_predictions_that_are_all_equal_have_an_exact_median():
    found = measures.task_measure(predicted(*[(1.5, 1.5)] * 500), "regression", ALPHA)
    assert (found.interval.low, found.interval.high) == (0, 0)
