"""Between records (`gnomon.model.records`) and rows: structured fields are JSON text in SQL."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any, TypeVar

import msgspec
from sqlalchemy import RowMapping

Record = TypeVar("Record", bound=msgspec.Struct)

_PLAIN = (str, int, float, bool)


def to_row(record: msgspec.Struct, *, named: bool = False) -> dict[str, Any]:
    """Column values of a record; with `named`, the key that makes its name unique as well."""
    structured = _structured(type(record))
    row = {
        name: msgspec.json.encode(value).decode()
        if name in structured and value is not None
        else value
        for name, value in msgspec.structs.asdict(record).items()
    }
    if named:
        row["name_key"] = row["name"].lower()
    return row


def from_row(type_: type[Record], row: RowMapping) -> Record:
    """The record in a row of its table."""
    structured = _structured(type_)
    return type_(
        **{
            name: msgspec.json.decode(row[name], type=structured[name])
            if name in structured and row[name] is not None
            else row[name]
            # Not `fields`, which works out every annotation again: that is most of a page's time.
            for name in type_.__struct_fields__
        }
    )


@functools.cache
def _structured(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Fields of a record that are neither text nor number, with their types."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(type_)
        if not _is_plain(field.type)
    }


def _is_plain(hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return all(part in (*_PLAIN, type(None)) for part in typing.get_args(hint))
    return hint in _PLAIN
