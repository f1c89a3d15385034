"""What the data plane is to reach beside its peers, and whether a run reached it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.kit.report import Goals

# Production with a failing shadow may be so much slower than with a healthy one, either way.
_P99_RATIO = 1.3
_P99_ADDED_US = 500.0


@dataclass(frozen=True)
class Goal:
    """One line of the table. `figure` is what is judged."""

    label: str
    figure: str
    comparison: str
    bound: float
    digits: int = 2


GOALS = (
    Goal("requests/s ÷ Envoy mirror", "gnomon_to_envoy_ratio", ">=", 2.0),
    Goal("requests/s ÷ nginx mirror", "gnomon_to_nginx_ratio", ">=", 1.7),
    Goal("requests/s with capture on ÷ Envoy mirror", "gnomon_capture_to_envoy_ratio", ">=", 1.5),
    Goal("p50 added to direct at 1,000/s ÷ Envoy's", "p50_added_to_envoy_ratio", "<=", 0.5),
    Goal("p99 at 3,000/s, shadow dead, of what it may be", "p99_dead_of_allowed_ratio", "<=", 1.0),
    Goal("p99 at 3,000/s, shadow hung, of what it may be", "p99_hung_of_allowed_ratio", "<=", 1.0),
    Goal("memory, shadow hung, 3,000/s, MB", "hung_memory_mb", "<=", 150, 0),
    Goal("the same, its last quarter ÷ its second", "hung_memory_growth_ratio", "<=", 1.05),
    Goal("CPU a request, 0 % sampled ÷ no shadow", "unsampled_cpu_ratio_low", "<=", 1.05),
)


def goals_of(figures: Mapping[str, float], goals: Sequence[Goal] = GOALS) -> Goals:
    """Those of the goals about which there is a figure, as a report has them."""
    return {goal.figure: (goal.comparison, goal.bound) for goal in goals if goal.figure in figures}


def goal_rows(figures: Mapping[str, float], goals: Sequence[Goal] = GOALS) -> list[tuple[str, ...]]:
    """What was measured beside what it is to be; nothing is met that was not measured."""
    return [_row(goal, figures.get(goal.figure)) for goal in goals]


def of_allowed(healthy_us: float, failing_us: float) -> float:
    """How far a p99 goes towards its bound: 1.3 times that of a healthy shadow, or 0.5 ms more."""
    return failing_us / max(healthy_us * _P99_RATIO, healthy_us + _P99_ADDED_US)


def is_reached(goal: Goal, measured: float) -> bool:
    return measured >= goal.bound if goal.comparison == ">=" else measured <= goal.bound


def _row(goal: Goal, measured: float | None) -> tuple[str, ...]:
    sign = "≥" if goal.comparison == ">=" else "≤"
    bound = f"{sign} {goal.bound:g}"
    if measured is None:
        return goal.label, "", bound, "not measured"
    verdict = "met" if is_reached(goal, measured) else "missed"
    return goal.label, f"{measured:,.{goal.digits}f}", bound, verdict
