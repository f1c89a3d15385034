import numpy as np
import pytest

from gnomon.model.analysis import AnalysisSettings, Rules
from gnomon.stats.comparators import Comparison
from gnomon.stats.state import PairState
from gnomon.stats.verdict import Circumstances, judge, rule_alpha
from gnomon.testing.frames import answer, pair

SETTINGS = AnalysisSettings(block_s=0.05)
QUIET = Circumstances(copies_sampled=20_000, seconds=50.0)
SAME = Comparison(same=True)


def state_of(pairs, *, slow_down=1.0, error_every=0, label_every=0, noise=0.3, seed=1):
    generator = np.random.default_rng(seed)
    production = generator.lognormal(9, 0.4, pairs)
    shadow = production * slow_down * generator.lognormal(0, noise, pairs)
    state = PairState(50_000)
    for number in range(pairs):
        is_bad = error_every and number % error_every == 0
        differs = label_every and number % label_every == 0
        state.add(
            pair(
                f"event-{number:06}",
                at_s=number / 400,
                production=answer(latency_us=int(production[number])),
                shadow=answer(latency_us=int(shadow[number]), status=500 if is_bad else 200),
            ),
            Comparison(False, "body", ("/label",), 1.0) if differs else SAME,
        )
    return state


@pytest.fixture(scope="module")
def good():
    return state_of(20_000)


def judged(state, settings=SETTINGS, circumstances=QUIET):
    return judge(state, state.settled_with_open(), settings, circumstances)


def states(verdict):
    return {rule.name: rule.state for rule in verdict.rules}


def test_a_shadow_like_production_is_ready_though_p99_may_stay_open(good):
    verdict = judged(good)
    assert verdict.status == "ready"
    assert states(verdict) == {
        "slow_down": "met",
        "error_rate": "met",
        "disagreement": "met",
        "p99": "open",
    }


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"slow_down": 1.5}, {"slow_down", "p99"}),
        ({"error_every": 50}, {"error_rate"}),
        ({"label_every": 5}, {"disagreement"}),
    ],
)
def test_a_worse_shadow_is_not_ready_for_the_rules_that_it_breaks_alone(changes, broken):
    verdict = judged(state_of(20_000, **changes))
    assert verdict.status == "not_ready"
    assert {name for name, state in states(verdict).items() if state == "broken"} == broken
    assert len(verdict.reasons) == len(broken)


def test_a_shadow_that_is_too_near_a_margin_is_undecided():
    verdict = judged(state_of(4_000, slow_down=1.10))
    assert verdict.status == "undecided"
    assert states(verdict)["slow_down"] == "open"


def test_an_open_rule_says_how_many_more_pairs_settle_it_and_they_do():
    verdict = judged(state_of(3_000), circumstances=Circumstances(seconds=7.5))
    rule = next(rule for rule in verdict.rules if rule.name == "error_rate")
    assert rule.state == "open"
    assert rule.more_s == pytest.approx(rule.more_pairs / 400, rel=0.01)
    assert f"about {rule.more_pairs} more pairs" in rule.reason
    assert states(judged(state_of(3_000 + rule.more_pairs)))["error_rate"] == "met"
    # Not far more than it takes, either.
    assert states(judged(state_of(3_000 + round(0.85 * rule.more_pairs))))["error_rate"] == "open"


def test_what_cannot_be_foreseen_is_not_made_up():
    verdict = judged(state_of(50))
    assert {rule.more_pairs for rule in verdict.rules} == {None}
    assert all("too early" in rule.reason for rule in verdict.rules)
    one = Rules(slow_down=None, disagreement=0.1, p99=None, error_rate=None)
    near = judged(state_of(2_000, label_every=10), AnalysisSettings(rules=one))
    assert near.rules[0].more_pairs is None
    assert "can be foreseen" in near.rules[0].reason


def test_few_pairs_are_undecided_whatever_they_say():
    verdict = judged(state_of(900, label_every=1))
    assert states(verdict)["disagreement"] == "broken"
    assert verdict.status == "undecided"
    assert verdict.reasons == ("There are 900 pairs, and it takes 1000.",)


@pytest.mark.parametrize(("dropped", "status"), [(200, "ready"), (201, "undecided")])
def test_above_one_percent_of_copies_dropped_there_is_no_verdict(good, dropped, status):
    circumstances = Circumstances(copies_sampled=20_000, copies_dropped=dropped)
    assert judged(good, circumstances=circumstances).status == status


def test_copies_dropped_leave_a_broken_rule_without_a_verdict_too():
    circumstances = Circumstances(copies_sampled=100, copies_dropped=50)
    assert judged(state_of(2_000, label_every=2), circumstances=circumstances).status == "undecided"


def test_a_busy_machine_leaves_latency_open_and_the_verdict_undecided(good):
    busy = Circumstances(copies_sampled=20_000, is_contended=True)
    verdict = judged(good, circumstances=busy)
    assert verdict.status == "undecided"
    assert states(verdict)["slow_down"] == states(verdict)["p99"] == "open"
    assert "held back" in verdict.reasons[0]
    without = AnalysisSettings(rules=Rules(slow_down=None), block_s=0.05)
    assert judged(good, without, busy).status == "undecided"
    slow = judged(state_of(4_000, slow_down=2.0), circumstances=busy)
    assert slow.status == "undecided"
    wrong = judged(state_of(4_000, label_every=2), circumstances=busy)
    assert wrong.status == "not_ready"


def test_alpha_is_split_among_the_rules_that_there_are(good):
    assert rule_alpha(SETTINGS) == 0.0125
    two = AnalysisSettings(rules=Rules(error_rate=None, p99=None), block_s=0.05)
    assert rule_alpha(two) == 0.025
    verdict = judged(good, two)
    assert states(verdict) == {"slow_down": "met", "disagreement": "met"}
    assert {rule.measure.interval.confidence for rule in verdict.rules} == {0.975}


def test_without_rules_nothing_is_ready(good):
    none = Rules(slow_down=None, error_rate=None, disagreement=None, p99=None)
    assert judged(good, AnalysisSettings(rules=none)).status == "undecided"


def test_margins_are_the_users(good):
    strict = AnalysisSettings(rules=Rules(slow_down=0.5), block_s=0.05)
    assert states(judged(good, strict))["slow_down"] == "broken"


def test_no_pairs_are_undecided():
    verdict = judged(PairState(50_000), circumstances=Circumstances())
    assert verdict.status == "undecided"
    assert set(states(verdict).values()) == {"open"}


def test_nothing_known_is_never_ready():
    only_p99 = AnalysisSettings(
        rules=Rules(slow_down=None, error_rate=None, disagreement=None, least_pairs=10),
        block_s=0.05,
    )
    verdict = judged(state_of(50), only_p99)
    assert states(verdict) == {"p99": "open"}
    assert verdict.status == "undecided"
    assert verdict.reasons[0].startswith("p99: ")


@pytest.mark.parametrize("dependence", ["pairs", "blocks"])
@pytest.mark.parametrize(("block_s", "complete"), [(60.0, 0), (5.0, 1), (3.0, 2)])
def test_from_few_blocks_it_is_said_when_enough_are_complete(dependence, block_s, complete):
    state = PairState(round(block_s * 1e6))
    for number in range(3_000):
        latency = answer(latency_us=10_000 + number % 7)
        state.add(pair(f"{number}", at_s=number / 400, production=answer(), shadow=latency), SAME)
    settings = AnalysisSettings(block_s=block_s, dependence=dependence)
    rules = {
        rule.name: rule
        for rule in judged(state, settings, Circumstances(copies_sampled=3_000, seconds=7.5)).rules
    }
    of_blocks = ["slow_down"] + ["error_rate", "disagreement"] * (dependence == "blocks")
    for name in of_blocks:
        rule = rules[name]
        assert (rule.state, rule.more_pairs) == ("open", None)
        assert f"{100 - complete} more blocks have to be complete" in rule.reason
        a_block_s = max(block_s, 7.5 / complete if complete else 0)
        assert rule.more_s == pytest.approx((100 - complete) * a_block_s)
    assert "blocks" not in rules["p99"].reason
