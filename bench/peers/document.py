"""The section of docs/performance.md that a run writes: what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.kit.report import CannotMeasure, Report

_PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_COMMANDS = {
    "router": "router --peers --docs",
    "profile": "profile --docs",
    "telemetry": "telemetry --docs",
}
END = "<!-- up to here -->"


def begin(name: str) -> str:
    """The mark before what a bench writes."""
    return f"<!-- written by scripts/bench {_COMMANDS[name]} -->"


def write_section(name: str, report: Report, machine: Mapping[str, str | int]) -> None:
    written = section(report, machine, datetime.now(UTC))
    _PAGE.write_text(replaced(_PAGE.read_text(), begin(name), written))


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


def replaced(page: str, mark: str, written: str) -> str:
    """The page with this between the mark and the next END."""
    before, found, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise CannotMeasure(f"docs/performance.md lacks the marks {mark} and {END}: add them.")
    return f"{before}{found}\n{written}\n{end}{after}"


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
