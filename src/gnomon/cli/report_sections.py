"""What a report says, in the order in which it is read: the same for a terminal, Markdown and HTML.

From the report's JSON alone; figures are worded by `report_texts`, what counts lost and cut in
`report_counts`. How sections look is left to the module of each format.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gnomon.cli.report_texts import (
    NOTHING,
    change,
    duration,
    foreign,
    interval,
    milliseconds,
    percent,
    predicted,
    significant,
    value,
)

# Rows of the tables that could be long: the rest is in the JSON.
_MOST_ROWS = 10
_NAMES = {
    "slow_down": "typical slow-down",
    "mean": "mean latency",
    "error_rate": "error rate",
    "median_size": "median size",
    "median_difference": "median of shadow - production",
}
_VERDICTS = {"ready": "ready", "not_ready": "not ready", "undecided": "undecided"}


@dataclass(frozen=True)
class Section:
    """A table with a title, and sentences below it; either may be missing."""

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


def headline(analysis: dict[str, Any]) -> str:
    """The verdict with its reasons, in one line."""
    verdict = analysis["verdict"]
    return f"{_VERDICTS[verdict['status']]}: {' '.join(verdict['reasons'])}"


def judged(analysis: dict[str, Any]) -> list[Section]:
    """All that was found of the pairs."""
    found = [_rules(analysis), _measures(analysis["measures"]), _answers(analysis)]
    if analysis["differences"]:
        found.append(_differences(analysis))
    if analysis["task"] == "classification":
        found.append(_confusion(analysis))
    if analysis["regression"]:
        found.append(_regression(analysis["regression"]))
    if analysis["most_different"] or analysis["most_slowed"]:
        found.append(_worst(analysis))
    return found


def _rules(analysis: dict[str, Any]) -> Section:
    rules = analysis["verdict"]["rules"]
    rows = []
    lines = []
    for rule in rules:
        measure = rule["measure"]
        name = named(rule["name"])
        rows.append(
            (
                name,
                rule["state"],
                change(measure["change"], measure),
                interval(measure),
                f"at most {change(rule['margin'], measure)}",
                f"{measure['pairs']:,}",
            )
        )
        if rule["state"] == "open":
            more = "" if rule["more_s"] is None else f" That takes about {_more(rule)}."
            may = " This rule may stay open." if rule["may_stay_open"] else ""
            lines.append(f"{name} is open: {rule['reason']}{more}{may}")
    confidences = {rule["measure"]["interval"].get("confidence") for rule in rules} - {None}
    if confidences:
        lines.append(
            f"Each interval holds at all times at once with {percent(max(confidences))}, however "
            "often one looks."
        )
    if analysis["complete_s"] is not None:
        moment = datetime.fromtimestamp(analysis["complete_s"], UTC).strftime("%H:%M:%SZ")
        lines.append(f"Of pairs from before {moment}: answers to later requests may still come.")
    if analysis["is_contended"]:
        lines.append("Production and shadow shared a machine that was busy (contended).")
    return Section(
        "Rules",
        ("rule", "state", "shadow is", "interval", "margin", "pairs"),
        tuple(rows),
        tuple(lines),
    )


def _more(rule: dict[str, Any]) -> str:
    return f"{duration(rule['more_s'])} at the present rate"


def _measures(measures: list[dict[str, Any]]) -> Section:
    methods: dict[str, list[str]] = {}
    for measure in measures:
        assumes = f", {measure['assumes']}" if measure["assumes"] else ""
        methods.setdefault(measure["method"] + assumes, []).append(named(measure["name"]))
    return Section(
        "Measures",
        ("measure", "production", "shadow", "change", "interval", "pairs"),
        tuple(
            (
                named(measure["name"]),
                value(measure["production"], measure["unit"]),
                value(measure["shadow"], measure["unit"]),
                change(measure["change"], measure),
                interval(measure),
                f"{measure['pairs']:,}",
            )
            for measure in measures
        ),
        tuple(f"{', '.join(names)}: {method}" for method, names in methods.items()),
    )


def _answers(analysis: dict[str, Any]) -> Section:
    compared, pairs = analysis["compared"], analysis["pairs"]
    same = f", the same in {percent(analysis['same'] / compared)}" if compared else ""
    lines = [f"compared {compared:,} of {pairs:,} pairs{same}; task: {analysis['task']}"]
    unknown = dict(analysis["unknown"])
    skipped = unknown.pop("not_compared", 0)
    if skipped:
        lines.append(f"not compared {skipped:,} of {pairs:,}: more came than could be compared")
    if unknown:
        said = ", ".join(f"{count:,} {reason}" for reason, count in unknown.items())
        lines.append(f"cannot be compared: {said}")
    if analysis["raised"]:
        lines.append(f"the comparator failed last with: {foreign(analysis['raised'])}")
    if analysis["noise_compared"]:
        lines.append(f"production answered twice: {analysis['noise_compared']:,} requests")
    outcomes = sorted({*analysis["production_outcomes"], *analysis["shadow_outcomes"]})
    return Section(
        "Answers",
        ("outcome", "production", "shadow"),
        tuple(
            (
                outcome,
                f"{analysis['production_outcomes'].get(outcome, 0):,}",
                f"{analysis['shadow_outcomes'].get(outcome, 0):,}",
            )
            for outcome in outcomes
        ),
        tuple(lines),
    )


def _differences(analysis: dict[str, Any]) -> Section:
    differences = analysis["differences"]
    lines = []
    if len(differences) > _MOST_ROWS:
        lines.append(f"and at {len(differences) - _MOST_ROWS:,} more, which the JSON has")
    if analysis["paths_are_cut"]:
        lines.append("There were more paths than are kept apart.")
    return Section(
        "Where answers differ",
        ("path", "pairs", "share", "production with itself", "examples (event ids)"),
        tuple(
            (
                foreign(item["path"]),
                f"{item['times']:,}",
                f"{percent(item['share'])}{' (noise)' if item['is_noise'] else ''}",
                value(item["noise_share"], "share"),
                foreign(", ".join(item["examples"][:2])) if item["examples"] else NOTHING,
            )
            for item in differences[:_MOST_ROWS]
        ),
        tuple(lines),
    )


def _confusion(analysis: dict[str, Any]) -> Section:
    cells: list[dict[str, Any]] = analysis["confusion"]
    wrong = [cell for cell in cells if cell["production"] != cell["shadow"]]
    lines = [] if wrong else ["Wherever both answers have labels, they are the same."]
    if not cells:
        lines = ["No pair has labels in both answers."]
    if len(wrong) > _MOST_ROWS:
        lines.append(f"and {len(wrong) - _MOST_ROWS:,} more, which the JSON has")
    if wrong and analysis["labels_are_hashed"]:
        lines.append(
            "A KMS key protects the labels: each is shown as a hash, always the same in this test."
        )
    return Section(
        "Labels that are not the same",
        ("production", "shadow", "times"),
        tuple(
            (foreign(cell["production"]), foreign(cell["shadow"]), f"{cell['times']:,}")
            for cell in sorted(wrong, key=_by_times)[:_MOST_ROWS]
        ),
        tuple(lines),
    )


def _by_times(cell: dict[str, Any]) -> tuple[int, str, str]:
    return -cell["times"], cell["production"], cell["shadow"]


def _regression(figures: dict[str, Any]) -> Section:
    correlation = figures["correlation"]
    rows = [
        ("production's mean", predicted(figures["production_mean"])),
        ("shadow's mean", predicted(figures["shadow_mean"])),
        ("mean difference", predicted(figures["mean_difference"])),
        ("mean absolute difference", predicted(figures["mean_absolute_difference"])),
        ("correlation", NOTHING if correlation is None else f"{correlation:.4f}"),
    ]
    rows += [
        (f"difference p{100 * item['share']:g}", predicted(item["difference"]))
        for item in figures["quantiles"]
    ]
    left_out = figures["not_finite"]
    said = f"; {left_out:,} had a number that is not finite" if left_out else ""
    return Section(
        "Numbers", ("figure", "value"), tuple(rows), (f"of {figures['pairs']:,} pairs{said}",)
    )


def _worst(analysis: dict[str, Any]) -> Section:
    different = [
        ("differs most", foreign(pair["event_id"]), f"distance {significant(pair['score'])}")
        for pair in analysis["most_different"][:_MOST_ROWS]
    ]
    slowed = [
        ("slowed most", foreign(pair["event_id"]), f"× {significant(pair['score'])}")
        for pair in analysis["most_slowed"][:_MOST_ROWS]
    ]
    return Section("Pairs that stand out", ("why", "event id", "by"), (*different, *slowed))


def named(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def latency(figure: float | None) -> str:
    return NOTHING if figure is None else milliseconds(figure)
