"""Whether two answers say the same, judged by their content type.

JSON is compared by value and CSV by cells (numbers as numbers), text without the space around it,
anything else byte by byte. Tasks, tolerances and a user's own function are left to later layers,
and so is what the statuses of the answers say.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

_Kind = Literal["json", "csv", "text", "bytes"]


@dataclass(frozen=True)
class Comparison:
    """`same` is None where it cannot be known; `reason` then says why, or why they differ."""

    same: bool | None
    reason: str = ""


def compare(
    content_type_a: str | None, body_a: bytes, content_type_b: str | None, body_b: bytes
) -> Comparison:
    """Compare two whole bodies. A missing content type is taken to be the other's."""
    kind_a = _kind(content_type_a or content_type_b)
    kind_b = _kind(content_type_b or content_type_a)
    if kind_a != kind_b:
        return Comparison(same=False, reason="content_type")
    if body_a == body_b:
        return Comparison(same=True)
    if kind_a == "json":
        return _compare_json(body_a, body_b)
    if kind_a == "csv":
        return _compare_csv(body_a, body_b)
    if kind_a == "text":
        return _verdict(body_a.strip() == body_b.strip())
    return _verdict(same=False)


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _kind(content_type: str | None) -> _Kind:
    media = media_type(content_type or "")
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if media == "text/csv":
        return "csv"
    return "text" if media.startswith("text/") else "bytes"


def _verdict(same: bool) -> Comparison:
    return Comparison(same=True) if same else Comparison(same=False, reason="body")


def _compare_json(body_a: bytes, body_b: bytes) -> Comparison:
    try:
        return _verdict(_equal(json.loads(body_a), json.loads(body_b)))
    except ValueError:
        return Comparison(same=False, reason="malformed")
    except RecursionError:
        return Comparison(same=None, reason="too_deep")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    # Python takes true for 1, and NaN for something other than NaN.
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


def _compare_csv(body_a: bytes, body_b: bytes) -> Comparison:
    try:
        rows_a, rows_b = _rows(body_a), _rows(body_b)
    except (UnicodeDecodeError, csv.Error):
        return Comparison(same=False, reason="malformed")
    if [len(row) for row in rows_a] != [len(row) for row in rows_b]:
        return Comparison(same=False, reason="shape")
    cells = (
        (a, b) for pair in zip(rows_a, rows_b, strict=True) for a, b in zip(*pair, strict=True)
    )
    return _verdict(all(_equal_cells(a, b) for a, b in cells))


def _rows(body: bytes) -> list[list[str]]:
    # An empty line is no row.
    return [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")) if row]


def _equal_cells(a: str, b: str) -> bool:
    a, b = a.strip(), b.strip()
    if a == b:
        return True
    try:
        number_a, number_b = _number(a), _number(b)
        return number_a is not None and number_b is not None and number_a == number_b
    except ArithmeticError:
        # A signaling NaN is a number that may not even be compared.
        return False


def _number(cell: str) -> Decimal | None:
    # Decimal takes 1_000 for a number, which no CSV writer means.
    try:
        return None if "_" in cell else Decimal(cell)
    except InvalidOperation:
        return None
