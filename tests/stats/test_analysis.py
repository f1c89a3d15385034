import json
import math

import msgspec
import numpy as np
import pytest

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats.analysis import summarise
from gnomon.stats.comparators import Comparison
from gnomon.stats.state import PairState, decode, encode
from gnomon.stats.verdict import Circumstances
from gnomon.testing.frames import answer, pair

CIRCUMSTANCES = Circumstances()


def state_of(*comparisons):
    state = PairState(50_000)
    for number, comparison in enumerate(comparisons):
        shadow = answer(latency_us=1500 + number)
        state.add(pair(f"event-{number:04}", at_s=number / 400, shadow=shadow), comparison)
    return state


def analysed(state, settings=AnalysisSettings()):  # noqa: B008 - frozen
    return summarise(state, settings, CIRCUMSTANCES)


def differing(*paths, predictions=()):
    return Comparison(False, "body", paths, float(len(paths)), predictions)


def predicted(a, b):
    return Comparison(same=a == b, reason="" if a == b else "body", predictions=((a, b),))


def test_differences_are_listed_most_first_with_examples_and_noise_last():
    state = state_of(
        *[differing("/at", "/label")] * 3, differing("/at", "/score"), Comparison(same=True)
    )
    for number in range(40):
        state.add_noise(f"event-{number}", differing("/at"))
    found = analysed(state)
    assert [(d.path, d.times, d.is_noise) for d in found.differences] == [
        ("/label", 3, False),
        ("/score", 1, False),
        ("/at", 4, True),
    ]
    label, _, at = found.differences
    assert (label.share, label.noise_share, at.noise_share) == (0.6, 0.0, 1.0)
    assert label.examples == ("event-0000", "event-0001", "event-0002")
    assert (found.pairs, found.compared, found.same, found.noise_compared) == (5, 5, 1, 40)
    assert not found.paths_are_cut


def test_a_label_that_is_always_wrong_heads_the_disagreements_of_a_confusion():
    pairs = [("late", "on time")] * 25 + [("on time", "on time")] * 70 + [("late", "late")] * 5
    found = analysed(state_of(*[predicted(a, b) for a, b in pairs]))
    assert found.task == "classification"
    wrong = [cell for cell in found.confusion if cell.production != cell.shadow]
    assert [(cell.production, cell.shadow, cell.times) for cell in wrong] == [
        ("late", "on time", 25)
    ]
    assert found.measures[-1].name == "agreement"
    assert found.regression is None


def test_moments_of_numbers_are_numpys():
    generator = np.random.default_rng(3)
    production = generator.normal(1e8, 1, 3_000)
    shadow = production * 0.5 + generator.normal(0, 0.5, 3_000)
    found = analysed(
        state_of(*[predicted(float(a), float(b)) for a, b in zip(production, shadow, strict=True)])
    )
    figures = found.regression
    gap = shadow - production
    assert found.task == "regression"
    assert figures.mean_difference == pytest.approx(gap.mean(), rel=1e-12)
    assert figures.mean_absolute_difference == pytest.approx(np.abs(gap).mean(), rel=1e-12)
    for quantile in figures.quantiles:
        assert quantile.difference == pytest.approx(np.quantile(gap, quantile.share), rel=0.01)


def test_a_correlation_is_numpys():
    generator = np.random.default_rng(3)
    production = generator.normal(5, 1, 3_000)
    shadow = generator.normal(0, 0.5, 3_000) - production
    found = analysed(
        state_of(*[predicted(float(a), float(b)) for a, b in zip(production, shadow, strict=True)])
    )
    expected = np.corrcoef(production, shadow)[0, 1]
    assert found.regression.correlation == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shadow", [[2.5] * 50, [math.nan] * 50, [math.inf] * 50])
def test_what_does_not_vary_or_is_not_finite_has_no_correlation(shadow):
    found = analysed(state_of(*[predicted(n / 7, b) for n, b in enumerate(shadow)]))
    assert found.regression is None or found.regression.correlation is None
    json.loads(msgspec.json.encode(found))


def test_a_task_that_is_set_is_not_detected():
    state = state_of(*[predicted(n % 2, n % 2) for n in range(100)])
    assert analysed(state).task == "classification"
    assert analysed(state, AnalysisSettings(task="regression")).regression.pairs == 100


def test_worst_pairs_are_told_by_event_and_factor():
    found = analysed(state_of(*[Comparison(same=True)] * 30, differing("/a", "/b")))
    assert found.most_slowed[0].event_id == "event-0030"
    assert found.most_slowed[0].score == pytest.approx(1530 / 1500, rel=1e-3)
    assert [pair.event_id for pair in found.most_different] == ["event-0030"]


def test_measures_stand_at_alpha_each_and_rules_at_their_part_of_it():
    found = analysed(state_of(*[Comparison(same=True)] * 3_000))
    confidences = {m.interval.confidence for m in found.measures if hasattr(m.interval, "low")}
    assert confidences == {0.95}
    of_rules = [rule.measure.interval for rule in found.verdict.rules]
    assert {i.confidence for i in of_rules if hasattr(i, "low")} == {0.9875}


def test_an_analysis_is_json_whatever_was_seen():
    odd = [math.nan, math.inf, -math.inf, 1e308, 5e-324, 0.0]
    states = [PairState(50_000), state_of(*[predicted(a, b) for a in odd for b in odd])]
    for state in states:
        text = msgspec.json.encode(analysed(decode(encode(state))))
        assert b"NaN" not in text
        assert b"Infinity" not in text
        json.loads(text)
