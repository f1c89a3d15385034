"""A report as Markdown that GitHub shows well. Texts of models are code, the rest is escaped."""

from __future__ import annotations

import re

from gnomon.cli.report_sections import Section
from gnomon.cli.report_texts import Foreign

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&@])")
_TICKS = re.compile(r"`+")


def markdown(title: str, verdict: str | None, sections: list[Section]) -> str:
    """The whole document."""
    parts = [f"# {_text(title)}"]
    if verdict is not None:
        parts.append(f"**{_text(verdict)}**")
    for section in sections:
        parts.append(f"## {_text(section.title)}")
        if section.rows:
            parts.append(_table(section))
        if section.lines:
            parts.append("\n".join(f"- {_text(line)}" for line in section.lines))
    return "\n\n".join(parts) + "\n"


def _table(section: Section) -> str:
    rows = [section.columns, ("---",) * len(section.columns)]
    lines = [f"| {' | '.join(_text(cell) for cell in rows[0])} |", f"| {' | '.join(rows[1])} |"]
    lines += [f"| {' | '.join(_text(cell) for cell in row)} |" for row in section.rows]
    return "\n".join(lines)


def _text(text: str) -> str:
    if isinstance(text, Foreign):
        return _code(text)
    # A line break would end a row or begin a block.
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """A code span; its fence is longer than any run of ticks within."""
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    inner = text.replace("|", "\\|")
    space = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{fence}{space}{inner}{space}{fence}"
