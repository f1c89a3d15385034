"""What every List operation does: filter, sort, page by opaque tokens.

A token holds the sort key of the last row that was given, so that rows which come or go between two
pages neither repeat nor hide others. It is good for the order that it was given for.
"""

from __future__ import annotations

import base64
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.control.call import Params
from gnomon.errors import ValidationFailed
from gnomon.store.state.resources import Filters, Resource, SortKey
from gnomon.store.state.rows import Record

_DEFAULT_PAGE = 10
# Types of the sort keys' parts: a token that has others was not given here.
_KEYS: dict[str, type[tuple[str | float, ...]]] = {
    "Name": tuple[str, str],
    "CreationTime": tuple[float, str],
    "Status": tuple[str, float, str],
}


async def page(
    connection: AsyncConnection, resource: Resource[Record], params: Params
) -> tuple[list[Record], str | None]:
    """The rows of one page, and the token of the next, or None after the last.

    Raises ValidationFailed for a token that this operation has not given for this order.
    """
    sort_by = params.get("SortBy", "CreationTime")
    order = params.get("SortOrder", "Descending")
    of = (str(resource.table.name), sort_by, order)
    size = params.get("MaxResults", _DEFAULT_PAGE)
    token = params.get("NextToken")
    found = await resource.page(
        connection,
        _filters(params),
        sort_by,
        descending=order == "Descending",
        after=_decode(token, of) if token else None,
        limit=size + 1,
    )
    shown = found[:size]
    return [row for _, row in shown], _encode(of, shown[-1][0]) if len(found) > size else None


def _filters(params: Params) -> Filters:
    def time_s(member: str) -> float | None:
        value: datetime | None = params.get(member)
        return None if value is None else value.timestamp()

    return Filters(
        name_contains=params.get("NameContains"),
        status=params.get("StatusEquals"),
        created_after_s=time_s("CreationTimeAfter"),
        created_before_s=time_s("CreationTimeBefore"),
        modified_after_s=time_s("LastModifiedTimeAfter"),
        modified_before_s=time_s("LastModifiedTimeBefore"),
    )


def _encode(of: tuple[str, str, str], key: SortKey) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((of, key))).decode()


def _decode(token: str, of: tuple[str, str, str]) -> SortKey:
    try:
        given, raw = msgspec.json.decode(
            base64.urlsafe_b64decode(token.encode()), type=tuple[tuple[str, str, str], msgspec.Raw]
        )
        if given == of:
            return msgspec.json.decode(raw, type=_KEYS[of[1]])
    except ValueError:
        # Of base64, of UTF-8, of JSON and of its types: all are ValueErrors.
        pass
    raise ValidationFailed("The NextToken is not one that this operation returned for this order.")
