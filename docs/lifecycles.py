"""Draws the lifecycles in architecture.md from the tables that the code runs.

`python docs/lifecycles.py` rewrites the diagrams; a test sees that they are what it would write.
"""

from __future__ import annotations

from pathlib import Path

from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT, INSTANCE, Lifecycle

_DOCUMENT = Path(__file__).with_name("architecture.md")
_LIFECYCLES = (EXPERIMENT, ENDPOINT, INSTANCE)


def drawn(document: str) -> str:
    """The document with each diagram as its table has it."""
    for lifecycle in _LIFECYCLES:
        begin, end = f"<!-- lifecycle: {lifecycle.name} -->\n", "<!-- end -->"
        before, found, rest = document.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the document has no place for the {lifecycle.name}'s lifecycle")
        document = before + begin + _diagram(lifecycle) + end + after
    return document


def _diagram(lifecycle: Lifecycle) -> str:
    arrows = [
        f"    {before or '[*]'} --> {after}: {_label(event)}"
        for before, event, after in lifecycle.rows
    ]
    lasting = {before for before, _, _ in lifecycle.rows}
    ends = [f"    {status} --> [*]" for status in lifecycle.statuses if status not in lasting]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, *ends, "```", ""])


def _label(event: str) -> str:
    # Mermaid ends a label at either of these.
    return event.replace(";", ",").replace(":", ",")


if __name__ == "__main__":
    _DOCUMENT.write_text(drawn(_DOCUMENT.read_text()))
