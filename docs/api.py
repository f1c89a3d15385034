"""Draws api.md from the tables that the code runs.

`python docs/api.py` rewrites the document; a test sees that it is what it would write.
"""

from __future__ import annotations

from pathlib import Path

from botocore.model import ListShape, MapShape, Shape, StructureShape

from gnomon.control import api
from gnomon.control.operations.differences import DIFFERENCES
from gnomon.control.operations.members import MEMBERS, Echoed, Honoured, Refused, Treatment

_DOCUMENT = Path(__file__).with_name("api.md")
_HEAD = """# SageMaker's API in Gnomon

Drawn from the code by `python docs/api.py`. Requests are validated against botocore's service
model: every constraint of it holds, and the messages are SageMaker's. Members that the model does
not know are ignored. Of those that it knows each is

- **honoured**: it does what AWS says,
- **echoed**: kept and shown again where AWS shows it, without effect, so that scripts run
  unchanged, or
- **refused** with a ValidationException that names it, because ignoring it would mislead.

An instance type is taken if any enum of the model has it. Every operation of SageMaker's that is
not here is an UnknownOperationException that names it and lists these. [The guide](guide.md) shows
how they are used.

## Operations
"""


def drawn() -> str:
    """The whole document."""
    service = api.load()
    parts = [_HEAD]
    nested: dict[str, StructureShape] = {}
    for name in api.OPERATIONS:
        shape = service.operation(name).input_shape
        assert isinstance(shape, StructureShape)
        parts.append(f"### {name}\n")
        if name in DIFFERENCES:
            parts.append(f"{DIFFERENCES[name]}\n")
        parts.append(_table(shape, nested))
    parts.append("## Structures\n")
    shown: set[str] = set()
    while waiting := sorted(nested.keys() - shown):
        for name in waiting:
            shown.add(name)
            parts += [f"### {name}\n", _table(nested[name], nested)]
    return "\n".join(parts).rstrip() + "\n"


def _table(shape: StructureShape, nested: dict[str, StructureShape]) -> str:
    rows = ["| member | is | |", "|---|---|---|"]
    for name, member in shape.members.items():
        row = MEMBERS[shape.name][name]
        inner = _innermost(member)
        link = ""
        if isinstance(row, Honoured) and isinstance(inner, StructureShape):
            nested[inner.name] = inner
            link = f"[{inner.name}](#{inner.name.lower()})"
        said = "; ".join(part for part in (link, _said(row)) if part)
        required = "" if name not in shape.required_members else " (required)"
        rows.append(f"| `{name}`{required} | {type(row).__name__.lower()} | {said} |")
    return "\n".join([*rows, ""])


def _said(row: Treatment) -> str:
    match row:
        case Honoured(note, refused):
            values = [f"`{value}` is refused: {why.rstrip('.')}" for value, why in refused.items()]
            return "; ".join([*([note] if note else []), *values])
        case Echoed(why) | Refused(why):
            return why.rstrip(".")


def _innermost(shape: Shape) -> Shape:
    while isinstance(shape, ListShape | MapShape):
        shape = shape.member if isinstance(shape, ListShape) else shape.value
    return shape


if __name__ == "__main__":
    _DOCUMENT.write_text(drawn())
