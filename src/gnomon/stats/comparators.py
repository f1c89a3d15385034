"""Whether two answers say the same, judged by their content type, and where they differ.

JSON and JSON Lines are compared by value and path, CSV by cells (numbers as numbers), text without
the space around it, anything else byte by byte. What the answers predict is read on the way.
What the statuses say is left to the caller, and what many pairs say together, to `state`.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gnomon.model.analysis import ComparisonSettings
from gnomon.stats import csv_difference, json_difference, predictions
from gnomon.stats.differences import Differences
from gnomon.stats.predictions import Prediction

_Kind = Literal["json", "lines", "csv", "text", "bytes"]

# SageMaker's own name for JSON Lines, and those that others use.
_LINES = frozenset(
    {
        "application/jsonlines",
        "application/x-jsonlines",
        "application/jsonl",
        "application/x-ndjson",
        "application/x-jsonl",
    }
)


@dataclass(frozen=True)
class Comparison:
    """`same` is None where it cannot be known; `reason` then says why, or why they differ.

    `paths` says where (not for text and bytes), `distance` how far apart they are, and
    `predictions` has production's and the shadow's, in the order of the answers, where both are
    understood and equally many. `why` is what a user's comparator raised.
    """

    same: bool | None
    reason: str = ""
    paths: tuple[str, ...] = ()
    distance: float = 0.0
    predictions: tuple[tuple[Prediction, Prediction], ...] = ()
    why: str = ""


def compare(
    content_type_a: str | None,
    body_a: bytes,
    content_type_b: str | None,
    body_b: bytes,
    settings: ComparisonSettings,
) -> Comparison:
    """Compare two whole bodies. A missing content type is taken to be the other's."""
    kind_a = _kind(content_type_a or content_type_b)
    kind_b = _kind(content_type_b or content_type_a)
    if kind_a != kind_b:
        return Comparison(same=False, reason="content_type", distance=1.0)
    match kind_a:
        case "json":
            return _compare_json(json_difference.parse, body_a, body_b, settings)
        case "lines":
            return _compare_json(json_difference.parse_lines, body_a, body_b, settings)
        case "csv":
            return _compare_csv(body_a, body_b, settings)
        case "text":
            return _compare_text(body_a, body_b, settings)
        case "bytes":
            return _verdict(body_a == body_b)


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _kind(content_type: str | None) -> _Kind:
    media = media_type(content_type or "")
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if media in _LINES:
        return "lines"
    if media == "text/csv":
        return "csv"
    return "text" if media.startswith("text/") else "bytes"


def _verdict(same: bool) -> Comparison:
    return Comparison(same=True) if same else Comparison(same=False, reason="body", distance=1.0)


def _compare_json(
    parse: Callable[[bytes], Any], body_a: bytes, body_b: bytes, settings: ComparisonSettings
) -> Comparison:
    is_equal = body_a == body_b
    try:
        a = parse(body_a)
        b = a if is_equal else parse(body_b)
        found = Differences(settings)
        if not is_equal:
            json_difference.find_differences(a, b, settings.list_order, found)
    except ValueError:
        return _malformed(is_equal)
    except RecursionError:
        return Comparison(same=True) if is_equal else Comparison(same=None, reason="too_deep")
    predicted_a = predictions.of_json(a)
    predicted_b = predicted_a if is_equal else predictions.of_json(b)
    return _found(found, predicted_a, predicted_b, "body")


def _compare_csv(body_a: bytes, body_b: bytes, settings: ComparisonSettings) -> Comparison:
    is_equal = body_a == body_b
    try:
        a = csv_difference.parse(body_a)
        b = a if is_equal else csv_difference.parse(body_b)
    except (UnicodeDecodeError, csv.Error):
        return _malformed(is_equal)
    found = Differences(settings)
    if not is_equal:
        csv_difference.find_differences(a, b, found)
    predicted_a = predictions.of_csv(a)
    predicted_b = predicted_a if is_equal else predictions.of_csv(b)
    shapes = {csv_difference.ROWS, csv_difference.COLUMNS}
    reason = "body" if shapes.isdisjoint(found.paths) else "shape"
    return _found(found, predicted_a, predicted_b, reason)


def _malformed(is_equal: bool) -> Comparison:
    if is_equal:
        return Comparison(same=True)
    return Comparison(same=False, reason="malformed", distance=1.0)


def _found(
    found: Differences, a: list[Prediction] | None, b: list[Prediction] | None, reason: str
) -> Comparison:
    both = tuple(zip(a, b, strict=True)) if a and b and len(a) == len(b) else ()
    if not found.paths:
        return Comparison(same=True, predictions=both)
    return Comparison(False, reason, tuple(found.paths), found.distance, both)


def _compare_text(body_a: bytes, body_b: bytes, settings: ComparisonSettings) -> Comparison:
    if body_a == body_b or settings.text == "exact":
        return _verdict(body_a == body_b)
    try:
        return _verdict(_normalised(body_a) == _normalised(body_b))
    except UnicodeDecodeError:
        return _verdict(body_a.strip() == body_b.strip())


def _normalised(body: bytes) -> str:
    """One way of writing each character, and one space between words."""
    return " ".join(unicodedata.normalize("NFC", body.decode()).split())
