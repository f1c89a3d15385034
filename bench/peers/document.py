"""The section of docs/performance.md that a run writes: what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.kit.report import CannotMeasure, Report

_PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN = "<!-- written by scripts/bench router --peers --docs -->"
END = "<!-- up to here -->"


def write_section(report: Report, machine: Mapping[str, str | int]) -> None:
    _PAGE.write_text(replaced(_PAGE.read_text(), section(report, machine, datetime.now(UTC))))


def section(report: Report, machine: Mapping[str, str | int], now: datetime) -> str:
    """Markdown of all tables and notes of a run."""
    lines = [
        f"Measured on {now:%d %B %Y}: "
        + ", ".join(f"{key} {value}" for key, value in machine.items()),
        "(" + ", ".join(f"{key} {value}" for key, value in report.versions.items()) + ").",
        "",
        *_table(report.header, report.rows),
    ]
    for listing in report.further:
        lines += ["", f"{listing.title}:", "", *_table(listing.header, listing.rows)]
    lines += ["", *(f"- {note}" for note in report.notes)]
    return "\n".join(lines)


def replaced(page: str, written: str) -> str:
    """The page with this between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CannotMeasure(f"docs/performance.md lacks the marks {BEGIN} and {END}: add them.")
    return f"{before}{begin}\n{written}\n{end}{after}"


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
