"""Production and shadow side by side: rows for a table, from Gnomon's report. Pure but for rich."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from examples.demo.flights import Flight
from examples.demo.records import Record

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    title: str
    production: str
    shadow: str


@dataclass(frozen=True)
class Accuracy:
    """How often a model was right, of the answers it gave."""

    right: int
    answers: int

    def __str__(self) -> str:
        if not self.answers:
            return "-"
        return f"{self.right / self.answers:.2%} of {self.answers:,}"


def accuracy_of(labels: Iterable[tuple[int, str]], flights: Sequence[Flight]) -> Accuracy:
    """`labels` are flight numbers with what was answered."""
    right = answers = 0
    for number, label in labels:
        answers += 1
        right += (label == "1") == flights[number % len(flights)].is_late
    return Accuracy(right, answers)


def labels_of(records: Iterable[Record]) -> list[tuple[int, str]]:
    return [(record.number, record.label) for record in records]


def live_lines(report: Report) -> list[Line]:
    """What changes while the test runs."""
    sides = (report["production"], report["shadow"])

    def line(title: str, cells: Iterable[str]) -> Line:
        production, shadow = cells
        return Line(title, production, shadow)

    return [
        line("invocations", (f"{side['invocations']:,}" for side in sides)),
        line(
            "errors (4XX, 5XX, other)",
            (
                f"{side['errors_4xx']}, {side['errors_5xx']}, "
                f"{side['model_errors'] - side['errors_4xx'] - side['errors_5xx']}"
                for side in sides
            ),
        ),
        line(
            "requests a second, per instance",
            (_number(side["requests_per_s_per_instance"], ".1f") for side in sides),
        ),
        *(
            line(
                f"latency of the model, {name}",
                (_number(side["latency_ms"][name], ".2f", " ms") for side in sides),
            )
            for name in ("p50", "p90", "p99")
        ),
    ]


def report_lines(
    report: Report, production: Accuracy, shadow: Accuracy, production_paired: Accuracy
) -> list[Line]:
    """`production_paired` is production's on those flights that the shadow was asked about too."""
    return [
        *live_lines(report),
        Line("accuracy, of all that it was asked", str(production), str(shadow)),
        Line("accuracy, where both were asked", str(production_paired), str(shadow)),
    ]


def notes(report: Report) -> list[str]:
    """What belongs to neither side: the pairs and the mirror."""
    pairs, mirror = report["pairs"], report["mirror"]
    expected = mirror["candidates"] * report["experiment"]["sampling_percentage"] / 100
    dropped = {reason: count for reason, count in mirror["dropped"].items() if count}
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    agreement = _number(pairs["agreement"], ".2%")
    counts = ", ".join(f"{pairs[name]:,} {name}" for name in ("same", "different", "unknown"))
    return [
        f"The labels agree in {agreement} of {pairs['pairs']:,} pairs ({counts}).",
        f"Mirrored: {mirror['sampled']:,} of {mirror['candidates']:,}; {expected:,.0f} expected.",
        f"Copies dropped: {reasons or 'none'}.",
    ]


def verdict_lines(report: Report) -> list[str]:
    """Whether the shadow is fit to take over, and what each rule says of it."""
    verdict = report["analysis"]["verdict"]
    return [
        f"Gnomon's verdict: {verdict['status']}. {' '.join(verdict['reasons'])}",
        *(f"  {rule['name']}: {rule['state']}, {rule['reason']}" for rule in verdict["rules"]),
    ]


def table(report: Report, lines: Iterable[Line]) -> Table:
    shown = Table(title_justify="left")
    shown.add_column("")
    shown.add_column(f"production\n{report['production']['variant']}", justify="right")
    shown.add_column(f"shadow\n{report['shadow']['variant']}", justify="right")
    for line in lines:
        shown.add_row(line.title, line.production, line.shadow)
    return shown


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
