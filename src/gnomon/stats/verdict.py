"""The verdict: rules with margins, each met, broken or open, and what they say together.

`alpha` is shared out among the rules in equal parts (a union bound), so that with probability
1 - alpha no rule is ever wrongly met or broken, whenever one looks, if what its measure assumes
holds. A rule is met when the whole interval is within the margin, broken when all of it is beyond.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats import measures
from gnomon.stats.blocks import Settled
from gnomon.stats.figures import Inconclusive, Measure, Rule, RuleName, RuleState, Verdict
from gnomon.stats.state import PairState

# Further than so many times what there is nothing is foreseen.
_MOST_GROWTH = 1_000.0
# From fewer pairs nothing is foreseen: what they are like is not known.
_FORESEEING_PAIRS = 100
# Nor from fewer blocks, where a rule rests on them: their variance is not known.
_FORESEEING_BLOCKS = 30
# Growth is found to within a twentieth: the figures it rests on are known less well.
_GROWTH_STEP = 1.05
_LATENCY_RULES = frozenset({"slow_down", "p99"})

_Measuring = Callable[[float], Measure]


class Circumstances(msgspec.Struct, frozen=True):
    """What pairs do not tell: of the copies that were drawn, how many were dropped or their pairs
    lost; whether production and shadow got in each other's way; how long the test has run.
    """

    copies_sampled: int = 0
    copies_dropped: int = 0
    is_contended: bool = False
    seconds: float = 0.0


def judge(
    state: PairState, blocks: Settled, settings: AnalysisSettings, circumstances: Circumstances
) -> Verdict:
    """The verdict on what was seen so far."""
    rules = tuple(
        _rule(name, margin, measure, state, circumstances, _blocks(name, blocks, settings))
        for name, margin, measure in _measurings(state, blocks, settings)
    )
    broken = [rule for rule in rules if rule.state == "broken"]
    open_rules = [rule for rule in rules if rule.state == "open" and not rule.may_stay_open]
    obstacles = _obstacles(state, settings, circumstances)
    if obstacles:
        return Verdict("undecided", tuple(obstacles), rules)
    if broken:
        return Verdict("not_ready", tuple(f"{_NAMES[r.name]}: {r.reason}" for r in broken), rules)
    if not rules:
        return Verdict("undecided", ("Every rule is left out.",), rules)
    if not any(rule.state == "met" for rule in rules):
        # All are open; that one may stay so says nothing for the shadow.
        open_rules = list(rules)
    if open_rules or circumstances.is_contended:
        said = [f"{_NAMES[rule.name]}: {rule.reason}" for rule in open_rules]
        return Verdict("undecided", tuple(said or [_CONTENDED]), rules)
    return Verdict("ready", ("Every rule that must be is met.",), rules)


def rule_alpha(settings: AnalysisSettings) -> float:
    """Each rule's part of alpha."""
    return settings.alpha / max(1, len(_margins(settings)))


_NAMES: dict[RuleName, str] = {
    "slow_down": "Typical slow-down",
    "error_rate": "Error rate",
    "disagreement": "Disagreement",
    "p99": "p99",
}
_CONTENDED = (
    "Production and shadow shared a machine that was busy, and the shadow was held back there: "
    "its latency cannot be judged."
)


def _margins(settings: AnalysisSettings) -> list[tuple[RuleName, float]]:
    rules = settings.rules
    margins: list[tuple[RuleName, float | None]] = [
        ("slow_down", rules.slow_down),
        ("error_rate", rules.error_rate),
        ("disagreement", rules.disagreement),
        ("p99", rules.p99),
    ]
    return [(name, margin) for name, margin in margins if margin is not None]


def _measurings(
    state: PairState, blocks: Settled, settings: AnalysisSettings
) -> list[tuple[RuleName, float, _Measuring]]:
    alpha = rule_alpha(settings)
    measuring: dict[RuleName, _Measuring] = {
        "slow_down": lambda growth: measures.slow_down(state, blocks, alpha, growth),
        "error_rate": lambda growth: measures.error_rate(state, blocks, settings, alpha, growth),
        "disagreement": lambda growth: measures.disagreement(
            state, blocks, settings, alpha, growth
        ),
        "p99": lambda growth: measures.quantile("p99", state, alpha, growth),
    }
    return [(name, margin, measuring[name]) for name, margin in _margins(settings)]


def _blocks(name: RuleName, blocks: Settled, settings: AnalysisSettings) -> int | None:
    if name == "slow_down":
        return blocks.ratios_by_block.blocks
    if settings.dependence == "pairs" or name == "p99":
        return None
    of_rate = blocks.only_shadow_failed if name == "error_rate" else blocks.differ
    return sum(of_rate.values())


def _obstacles(
    state: PairState, settings: AnalysisSettings, circumstances: Circumstances
) -> list[str]:
    """Why there is no verdict whatever the rules say."""
    found = []
    sampled, dropped = circumstances.copies_sampled, circumstances.copies_dropped
    if dropped > settings.rules.most_dropped * sampled:
        found.append(
            f"{dropped} of {sampled} copies were dropped, and at most "
            f"{settings.rules.most_dropped:.2%} may be: what is missing is missing because the "
            "shadow was slow."
        )
    if state.pairs < settings.rules.least_pairs:
        found.append(f"There are {state.pairs} pairs, and it takes {settings.rules.least_pairs}.")
    return found


def _rule(
    name: RuleName,
    margin: float,
    measuring: _Measuring,
    state: PairState,
    circumstances: Circumstances,
    blocks: int | None,
) -> Rule:
    """`blocks` is how many complete ones it rests on; None: on pairs."""
    measure = measuring(1.0)
    may_stay_open = name == "p99"
    if circumstances.is_contended and name in _LATENCY_RULES:
        return Rule(name, margin, "open", _CONTENDED, may_stay_open, measure)
    found, reason = _decided(measure, margin)
    if found != "open":
        return Rule(name, margin, found, reason, may_stay_open, measure)
    reason = reason.rstrip(".")
    if state.pairs < _FORESEEING_PAIRS:
        said = f"{reason}; it is too early to say how many pairs settle it."
        return Rule(name, margin, "open", said, may_stay_open, measure)
    if blocks is not None and blocks < _FORESEEING_BLOCKS:
        missing = measures.LEAST_BLOCKS - blocks
        block_s = state.block_us / 1e6
        said = f"{reason}; {missing} more blocks have to be complete before it can be foreseen."
        more_s = None
        if circumstances.seconds:
            more_s = missing * max(block_s, circumstances.seconds / blocks if blocks else 0.0)
        return Rule(name, margin, "open", said, may_stay_open, measure, None, more_s)
    growth = _growth(measuring, margin)
    if growth is None:
        said = f"{reason}; no amount of traffic that can be foreseen settles it."
        return Rule(name, margin, "open", said, may_stay_open, measure)
    more_pairs = round(state.pairs * (growth - 1))
    more_s = circumstances.seconds * (growth - 1) if circumstances.seconds else None
    said = f"{reason}; about {more_pairs} more pairs like those so far settle it."
    return Rule(name, margin, "open", said, may_stay_open, measure, more_pairs, more_s)


def _decided(measure: Measure, margin: float) -> tuple[RuleState, str]:
    interval = measure.interval
    if isinstance(interval, Inconclusive):
        return "open", interval.reason
    said = f"the interval from {_said(interval.low)} to {_said(interval.high)}"
    if interval.high is not None and interval.high <= margin:
        return "met", f"{said} is within {margin:g}."
    if interval.low is not None and interval.low > margin:
        return "broken", f"{said} is beyond {margin:g}."
    return "open", f"{said} reaches across {margin:g}."


def _growth(measuring: _Measuring, margin: float) -> float | None:
    """By how much there has to be more, of pairs like those so far, for the rule to be decided.

    An estimate: what is measured now is taken for the truth. None where that is so near the margin
    that even the most that is looked at would not decide.
    """
    low, high = 1.0, _MOST_GROWTH
    if _decided(measuring(high), margin)[0] == "open":
        return None
    while high / low > _GROWTH_STEP:
        middle = (low * high) ** 0.5
        if _decided(measuring(middle), margin)[0] == "open":
            low = middle
        else:
            high = middle
    return high


def _said(bound: float | None) -> str:
    return "no bound" if bound is None else f"{bound:.4g}"
