"""What every List operation does: filter, sort, page by opaque tokens.

A token holds the sort key and the id of the last row that was given, so that rows which come or go
between two pages neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from gnomon.control.call import Params
from gnomon.errors import ValidationFailed

DEFAULT_PAGE = 10


class Listed(Protocol):
    """What a record must have to be listed."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_s(self) -> float: ...


Row = TypeVar("Row", bound=Listed)

_TIMES = {"CreationTime": "created_at_s", "LastModifiedTime": "modified_at_s"}


def page(
    rows: Sequence[Row], params: Params, *, default_order: str
) -> tuple[list[Row], str | None]:
    """The rows of one page, and the token of the next, or None after the last.

    `default_order` is the operation's own: Ascending or Descending. Raises ValidationFailed for a
    token that this operation has not given.
    """
    chosen = [row for row in rows if _matches(row, params)]
    sort_by = params.get("SortBy", "CreationTime")
    key = _sort_key(sort_by)
    descending = params.get("SortOrder", params.get("OrderKey", default_order)) == "Descending"
    chosen.sort(key=key, reverse=descending)
    token = params.get("NextToken")
    if token:
        after = _decode(token, sort_by)
        chosen = [row for row in chosen if (key(row) < after if descending else key(row) > after)]
    size = params.get("MaxResults", DEFAULT_PAGE)
    shown = chosen[:size]
    more = len(chosen) > size
    return shown, _encode(sort_by, key(shown[-1])) if more and shown else None


def _matches(row: Any, params: Params) -> bool:
    contains = params.get("NameContains")
    if contains and contains.lower() not in row.name.lower():
        return False
    status = params.get("StatusEquals")
    if status and row.status != status:
        return False
    for member, field in _TIMES.items():
        after, before = params.get(f"{member}After"), params.get(f"{member}Before")
        if after is not None and getattr(row, field) <= after.timestamp():
            return False
        if before is not None and getattr(row, field) >= before.timestamp():
            return False
    return True


def _sort_key(sort_by: str) -> Callable[[Any], tuple[Any, str]]:
    if sort_by == "Name":
        return lambda row: (row.name.lower(), row.id)
    if sort_by == "Status":
        return lambda row: (row.status, row.id)
    return lambda row: (row.created_at_s, row.id)


def _encode(sort_by: str, key: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((sort_by, *key))).decode()


def _decode(token: str, sort_by: str) -> tuple[Any, str]:
    kind = float if sort_by == "CreationTime" else str
    try:
        given, *key = msgspec.json.decode(
            base64.urlsafe_b64decode(token.encode()),
            type=tuple[str, kind, str],  # type: ignore[valid-type]
        )
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        given, key = "", []
    if given != sort_by:
        raise ValidationFailed(
            "The NextToken is not one that this operation returned for this SortBy."
        )
    return key[0], str(key[1])
