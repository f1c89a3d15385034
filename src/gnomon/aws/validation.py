"""Checks a request against its shape, and says what is wrong in SageMaker's own words.

botocore and the AWS CLI check little before they send (required members, types, minimum
lengths), so that maxima, patterns and enums are found here. Types are settled before, by
`gnomon.aws.json_protocol`; what depends on state or on other members is left to the operations.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from gnomon.aws.java_regex import compile_java
from gnomon.aws.paths import entry_path, item_path, member_path
from gnomon.aws.service import is_instance_type_enum
from gnomon.errors import ValidationFailed

# A request of many small faults would otherwise get an answer many times its own size.
_MAX_ERRORS = 50
_SHOWN_VALUE_CHARS = 4096
# No pattern of the model needs more than some microseconds for a value that it takes. One that
# backtracks without end on a hostile value must not hold the process up.
_PATTERN_TIME_LIMIT_S = 0.1


def validate(
    shape: Shape | None, params: Mapping[str, Any], instance_types: AbstractSet[str]
) -> None:
    """Raises ValidationFailed, with every fault in one message, if `params` break `shape`.

    `params` are as `json_protocol.parse` leaves them; no shape is an operation without input. An
    instance type is right if it is in `instance_types`, whatever the enum of its own shape says.
    """
    if shape is None:
        return
    failures = list(itertools.islice(_failures(shape, params, "", instance_types), _MAX_ERRORS))
    if failures:
        errors = "error" if len(failures) == 1 else "errors"
        raise ValidationFailed(
            f"{len(failures)} validation {errors} detected: {'; '.join(failures)}"
        )


def _failures(
    shape: Shape, value: Any, path: str, instance_types: AbstractSet[str]
) -> Iterator[str]:
    if value is None:
        yield _failure(None, path, "Member must not be null")
        return
    for clause in _broken(shape, value, instance_types):
        yield _failure(value, path, clause)
    match shape:
        case StructureShape():
            for name, member in shape.members.items():
                if value.get(name) is not None or name in shape.required_members:
                    yield from _failures(
                        member, value.get(name), member_path(path, name), instance_types
                    )
        case ListShape():
            for index, item in enumerate(value):
                yield from _failures(shape.member, item, item_path(path, index), instance_types)
        case MapShape():
            yield from _map_failures(shape, value, path, instance_types)


def _map_failures(
    shape: MapShape, value: Mapping[str, Any], path: str, instance_types: AbstractSet[str]
) -> Iterator[str]:
    broken = _broken_by_any(shape.key, value, instance_types)
    if broken:
        yield _failure(value, path, f"Map keys must satisfy constraint: [{broken}]")
    if isinstance(shape.value, StructureShape | ListShape | MapShape):
        for key, item in value.items():
            yield from _failures(shape.value, item, entry_path(path, key), instance_types)
        return
    broken = _broken_by_any(shape.value, value.values(), instance_types)
    if broken:
        yield _failure(value, path, f"Map value must satisfy constraint: [{broken}]")


def _broken_by_any(shape: Shape, values: Iterable[Any], instance_types: AbstractSet[str]) -> str:
    """The constraints that at least one of `values` breaks, each once."""
    clauses: dict[str, None] = {}
    for value in values:
        if value is None:
            clauses["Member must not be null"] = None
        else:
            clauses.update(dict.fromkeys(_broken(shape, value, instance_types)))
    return ", ".join(clauses)


def _broken(shape: Shape, value: Any, instance_types: AbstractSet[str]) -> Iterator[str]:
    """The constraints of `shape` itself that `value` breaks, in a fixed order."""
    limits = shape.metadata
    if shape.type_name in {"string", "list", "map"}:
        yield from _outside(len(value), limits, "length")
    elif shape.type_name in {"integer", "long", "float", "double"}:
        yield from _outside(value, limits, "value")
    if "pattern" in limits and not (_matches(limits["pattern"], value) or _is_file(shape, value)):
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"
    if "enum" in limits:
        allowed = limits["enum"]
        if is_instance_type_enum(shape.name):
            allowed = sorted({*allowed, *instance_types})
        if value not in allowed:
            yield f"Member must satisfy enum value set: [{', '.join(allowed)}]"


def _outside(measure: float, limits: Mapping[str, Any], noun: str) -> Iterator[str]:
    if "max" in limits and measure > limits["max"]:
        yield f"Member must have {noun} less than or equal to {limits['max']}"
    if "min" in limits and measure < limits["min"]:
        yield f"Member must have {noun} greater than or equal to {limits['min']}"


def _is_file(shape: Shape, value: str) -> bool:
    """Whether `value` is a model's archive on this machine, which AWS has no URL for.

    The widening is for ModelDataUrl's shape alone, so that a model can be served from disk.
    """
    return shape.name == "Url" and value.startswith("file:///")


def _matches(pattern: str, value: str) -> bool:
    try:
        found = compile_java(pattern).fullmatch(value, timeout=_PATTERN_TIME_LIMIT_S)
    except TimeoutError:
        return False
    return found is not None


def _failure(value: Any, path: str, clause: str) -> str:
    shown = "null" if value is None else f"'{_text(value)[:_SHOWN_VALUE_CHARS]}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {clause}"


def _text(value: Any) -> str:
    """A value as Java's toString() would print it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Mapping():
            return f"{{{', '.join(f'{key}={_text(item)}' for key, item in value.items())}}}"
        case Sequence():
            return f"[{', '.join(map(_text, value))}]"
        case dt.datetime():
            return value.isoformat()
        case _:
            return str(value)
