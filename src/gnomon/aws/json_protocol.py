"""AWS JSON 1.1 on the server's side: a request's bytes in, typed parameters out, and back.

Its counterpart is botocore's serializer and parser for protocol `json`. What a value must be is
read from the service model. Constraints on values are `gnomon.aws.validation`'s matter, the form
of errors `gnomon.aws.errors`'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from gnomon.aws.errors import RequestTooLong, SerializationFailed, UnknownOperation
from gnomon.aws.paths import entry_path, item_path, member_path
from gnomon.aws.response import Response, control_headers
from gnomon.aws.service import Service
from gnomon.aws.sigv4_scope import parse_scope

_TARGET_PREFIX = "SageMaker."
_CONTENT_TYPE = "application/x-amz-json-1.1"
# SageMaker's own requests are a few KiB; this is far above any of them.
MAX_BODY_BYTES = 4 * 1024 * 1024
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# The deepest shape of the model that does not contain itself has 11 levels.
_MAX_DEPTH = 64
# Of what a caller sent and an error repeats.
_SHOWN_CHARS = 100
# Java's Integer and Long, which is what the model's types stand for.
_INTEGER_BITS = {"integer": 32, "long": 64}


@dataclass(frozen=True)
class Request:
    """A request whose body has the types that its operation takes.

    `params` has no null members and none that the input shape does not know; timestamps are aware
    datetimes in UTC. Nothing in it is validated further.
    """

    operation: str
    params: dict[str, Any]
    region: str
    request_id: str


def parse(
    service: Service,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request_id: str,
    default_region: str,
) -> Request:
    """The request that `body` is; `headers` are looked up by lower-case names.

    Raises UnknownOperation, OperationNotSupported, RequestTooLong or SerializationFailed.
    """
    if len(body) > MAX_BODY_BYTES:
        raise RequestTooLong(f"The request's body is longer than {MAX_BODY_BYTES} bytes.")
    target = headers.get("x-amz-target", "")
    if method != "POST" or path != "/" or not target.startswith(_TARGET_PREFIX):
        raise UnknownOperation(
            "A request to SageMaker is a POST to / whose header X-Amz-Target names the operation, "
            "as in SageMaker.CreateInferenceExperiment."
        )
    operation = service.operation(target.removeprefix(_TARGET_PREFIX))
    content_type = headers.get("content-type", _CONTENT_TYPE).partition(";")[0].strip().lower()
    if content_type != _CONTENT_TYPE:
        # AWS finds the protocol by this header, and with another one no operation.
        raise UnknownOperation(
            f"A request to SageMaker has Content-Type {_CONTENT_TYPE}, not "
            f"{content_type[:_SHOWN_CHARS]!r}."
        )
    scope = parse_scope(headers.get("authorization"))
    document = decode_object(body)
    shape = operation.input_shape
    return Request(
        operation=operation.name,
        params=typed(shape, document),
        region=scope.region if scope else default_region,
        request_id=request_id,
    )


def typed(shape: Shape | None, document: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded body with the types that `shape` gives its members, as in `Request.params`."""
    return {} if shape is None else dict(_read(shape, document, "", 0))


def answer(operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
    """The answer to a request that went well."""
    return Response(200, control_headers(request_id), serialize(operation, result))


def serialize(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    """The body of an answer; empty for an operation without output.

    Members that are None, and structures without members, are left out: clients that check
    answers stop at either. A member that the output shape does not know is a ValueError, and so
    is a time without a zone: both are mistakes in Gnomon.
    """
    if operation.output_shape is None:
        if result:
            raise ValueError(f"{operation.name} has no output, and got {sorted(result)}")
        return b""
    return msgspec.json.encode(_written(operation.output_shape, result))


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; an empty body is an empty one. SerializationFailed."""
    try:
        document = msgspec.json.decode(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise SerializationFailed("The request's body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise SerializationFailed("The request's body is not a JSON object.")
    return document


def _read(shape: Shape, value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SerializationFailed(f"The request is nested deeper than {_MAX_DEPTH} levels.")
    match shape, value:
        case StructureShape(), dict():
            return {
                name: _read(member, value[name], member_path(path, name), depth + 1)
                for name, member in shape.members.items()
                if value.get(name) is not None
            }
        case ListShape(), list():
            return [
                None if item is None else _read(shape.member, item, item_path(path, i), depth + 1)
                for i, item in enumerate(value)
            ]
        case MapShape(), dict():
            return {
                key: None
                if item is None
                else _read(shape.value, item, entry_path(path, key), depth + 1)
                for key, item in value.items()
            }
    try:
        return _read_scalar(shape.type_name, value)
    except (ValueError, OverflowError) as error:
        raise SerializationFailed(_mismatch(shape, value, path)) from error


def _read_scalar(type_name: str, value: Any) -> object:
    """A string, number, boolean or time; ValueError or OverflowError where it is none."""
    match type_name, value:
        case "boolean", bool():
            return value
        case "string", str():
            return value
        case "timestamp", str():
            return _utc(dt.datetime.fromisoformat(value))
        case _, bool() | str():
            raise ValueError(value)
        case "timestamp", int() | float():
            return _EPOCH + dt.timedelta(seconds=value)
        case "float" | "double", int() | float():
            return float(value)
        case "integer" | "long", int() | float() if value == int(value):
            if -1 << (_INTEGER_BITS[type_name] - 1) <= value < 1 << (_INTEGER_BITS[type_name] - 1):
                return int(value)
    raise ValueError(value)


def _utc(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC)


def _mismatch(shape: Shape, value: Any, path: str) -> str:
    """The words are those of AWS's Java services; the place is added."""
    if isinstance(value, dict):
        return f"Start of structure or map found where not expected, at '{path}'."
    if isinstance(value, list):
        return f"Start of list found where not expected, at '{path}'."
    if isinstance(value, bool):
        token = f"{value}_VALUE".upper()
    else:
        token = "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"
    article = "an" if shape.type_name[0] in "aeiou" else "a"
    return f"{token} can not be converted to {article} {shape.type_name.title()} at '{path}'."


def _written(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise ValueError(f"{shape.name} has no members {sorted(unknown)}")
        written = {
            name: _written(shape.members[name], member)
            for name, member in value.items()
            if member is not None
        }
        return {
            name: member
            for name, member in written.items()
            if member or not isinstance(shape.members[name], StructureShape)
        }
    if isinstance(shape, ListShape):
        return [_written(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: _written(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return _epoch_seconds(value)
    return value


def _epoch_seconds(value: dt.datetime) -> float:
    """Whole where it can be, as botocore sends times; else with all of its microseconds."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no zone")
    seconds = value.timestamp()
    return int(seconds) if seconds.is_integer() else seconds
