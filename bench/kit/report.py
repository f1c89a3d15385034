"""What a bench returns, and how it is shown: a table for people, JSON for machines."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gnomon.errors import GnomonError

# A figure and what it is to be: (">=", 2.0).
Goals = Mapping[str, tuple[str, float]]

_COMPARISONS = {">=": operator.ge, "<=": operator.le}
# Wide enough for every table when no terminal says how wide it is.
_WIDTH_COLUMNS = 132


class CannotMeasure(GnomonError):
    """There is nothing to report; the sentence says what stood in the way."""


@dataclass(frozen=True)
class Listing:
    """A further table, below a report's own."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """`figures` have their unit, or `_ratio`, in their names. A goal may be about any of them.

    `failures` are sentences on what must hold on any machine and did not: the run ends with 1.
    """

    figures: Mapping[str, float]
    versions: Mapping[str, str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    goals: Goals = field(default_factory=dict)
    failures: Sequence[str] = ()
    further: Sequence[Listing] = ()


def missed_goals(report: Report) -> list[str]:
    """One line for each figure that is not what it is to be."""
    return [
        f"{name} is {report.figures[name]:.4g}, to be {comparison} {bound:g}"
        for name, (comparison, bound) in report.goals.items()
        if not _COMPARISONS[comparison](report.figures[name], bound)
    ]


def print_report(name: str, report: Report, machine: Mapping[str, str | int]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_COLUMNS
    for listing in (Listing(f"bench {name}", report.header, report.rows), *report.further):
        table = Table(title=listing.title, title_justify="left")
        for number, column in enumerate(listing.header):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in listing.rows:
            table.add_row(*row)
        console.print(table)
    console.print("Machine: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
    console.print(
        "Versions: " + ", ".join(f"{key} {value}" for key, value in report.versions.items())
    )
    for note in report.notes:
        console.print(note)
    for line in missed_goals(report):
        console.print(f"Goal missed: {line}.")
    for line in report.failures:
        console.print(f"Failed: {line}")


def write_json(path: Path, name: str, report: Report, machine: Mapping[str, str | int]) -> None:
    document = {
        "bench": name,
        "machine": machine,
        "versions": report.versions,
        "figures": report.figures,
        "goals": report.goals,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
