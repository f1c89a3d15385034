"""Where two JSON values differ, by path.

Paths are JSON pointers (RFC 6901) in which `*` stands for every place of a list, so that the same
field of many predictions is one path; `/` is the whole answer. The order of keys means nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal

import msgspec

from gnomon.stats.differences import Differences

ROOT = "/"
# Of a key, as many characters go into a path: keys are the model's, and may be anything.
_MOST_KEY = 64
# Values of these types are equal if they are of one type and ==; float's NaN is looked at later.
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NUMBERS = frozenset({int, float})

_decoder = msgspec.json.Decoder()


def parse(body: bytes) -> Any:
    """A JSON document; ValueError, RecursionError."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Models write NaN and Infinity, which JSON has not; Python's own decoder takes them.
        parsed = json.loads(body)
        # It also takes halves of characters, which nothing can be written with.
        json.dumps(parsed, ensure_ascii=False).encode()
        return parsed


def parse_lines(body: bytes) -> list[Any]:
    """A JSON document a line; empty lines are none."""
    return [parse(line) for line in body.split(b"\n") if line.strip()]


def find_differences(a: Any, b: Any, order: Literal["kept", "any"], found: Differences) -> None:
    """Add to `found` where two documents differ; RecursionError."""
    _Walk(order == "any", found).values(a, b, "")


class _Walk:
    """On the hot path (`scripts/bench compare`): equal scalars cost no call and no new path."""

    __slots__ = ("_any_order", "_found")

    def __init__(self, any_order: bool, found: Differences) -> None:
        self._any_order = any_order
        self._found = found

    def values(self, a: Any, b: Any, path: str) -> None:
        kind, other = type(a), type(b)
        if kind is dict and other is dict:
            self._objects(a, b, path)
        elif kind is list and other is list:
            if self._any_order:
                a, b = _paired(a, b)
            self._lists(a, b, path)
        elif kind in _NUMBERS and other in _NUMBERS:
            if a != b:
                self._found.add_numbers(path or ROOT, a, b)
        elif kind is not other or a != b:
            self._found.add(path or ROOT)

    def _objects(self, a: dict[str, Any], b: dict[str, Any], path: str) -> None:
        for key, value in a.items():
            if key not in b:
                self._found.add(_below(path, key))
                continue
            other = b[key]
            kind = type(value)
            if kind in _SCALARS and kind is type(other) and value == other:
                continue
            self.values(value, other, _below(path, key))
        if len(a) != len(b) or a.keys() != b.keys():
            for key in b.keys() - a.keys():
                self._found.add(_below(path, key))

    def _lists(self, a: list[Any], b: list[Any], path: str) -> None:
        below = path + "/*"
        for value, other in zip(a, b, strict=False):
            kind = type(value)
            if kind in _SCALARS and kind is type(other) and value == other:
                continue
            if kind is float and type(other) is float:
                self._found.add_numbers(below, value, other)
            else:
                self.values(value, other, below)
        if len(a) != len(b):
            self._found.add(path or ROOT, abs(len(a) - len(b)))


def _below(path: str, key: str) -> str:
    if len(key) > _MOST_KEY:
        key = key[:_MOST_KEY]
    if "~" in key or "/" in key or "\n" in key:
        key = key.replace("~", "~0").replace("/", "~1").replace("\n", " ")
    return f"{path}/{key}"


def _paired(a: list[Any], b: list[Any]) -> tuple[list[Any], list[Any]]:
    """What of two lists is not in both, in the order of its values; equal things left out."""
    texts_a, texts_b = [_text(value) for value in a], [_text(value) for value in b]
    common = Counter(texts_a) & Counter(texts_b)
    return _rest(a, texts_a, common.copy()), _rest(b, texts_b, common)


def _rest(values: list[Any], texts: list[str], common: Counter[str]) -> list[Any]:
    rest = []
    for value, text in zip(values, texts, strict=True):
        if common[text]:
            common[text] -= 1
        else:
            rest.append((value, text))
    rest.sort(key=lambda item: (0, item[0], "") if _is_number(item[0]) else (1, 0, item[1]))
    return [value for value, _ in rest]


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS and value == value  # noqa: PLR0124 - NaN has no order


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
