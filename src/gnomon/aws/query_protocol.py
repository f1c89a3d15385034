"""AWS's query protocol on the server's side: a form's fields in, XML out.

Its counterpart is botocore's serializer and parser for protocol `query`. A form becomes the
document that the JSON protocol would have carried, so that types are settled in one place,
`gnomon.aws.json_protocol`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from gnomon.aws.errors import SerializationFailed

CONTENT_TYPE = "application/x-www-form-urlencoded"
# No request of CloudWatch's read operations comes near.
_MAX_FIELDS = 20_000
_NUMBERS: dict[str, type[int | float]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
}
# What no XML 1.0 document may hold (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; of a repeated one the last. SerializationFailed if it is none."""
    try:
        return dict(
            parse_qsl(
                body.decode(),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        )
    except ValueError as error:
        raise SerializationFailed("The request's body is not a form that can be read.") from error


def document(shape: StructureShape | None, fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields that `shape` knows, nested as they are in JSON, numbers and booleans as such."""
    if shape is None:
        return {}
    tree: dict[str, Any] = {}
    for name, value in fields.items():
        at = tree
        *above, last = name.split(".")
        for part in above:
            below = at.setdefault(part, {})
            if not isinstance(below, dict):
                raise SerializationFailed(f"The field {name[:100]!r} contradicts another one.")
            at = below
        at[last] = value
    known = {name: tree[name] for name in tree.keys() & shape.members.keys()}
    return {name: _nested(shape.members[name], value) for name, value in known.items()}


def _nested(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        known = value.keys() & shape.members.keys()
        return {name: _nested(shape.members[name], value[name]) for name in known}
    if isinstance(shape, ListShape):
        if value == "":
            return []
        items = value.get("member") if isinstance(value, dict) else None
        if isinstance(items, dict) and all(key.isascii() and key.isdigit() for key in items):
            return [_nested(shape.member, items[key]) for key in sorted(items, key=int)]
    try:
        if shape.type_name in _NUMBERS and isinstance(value, str):
            return _NUMBERS[shape.type_name](value)
        if shape.type_name == "boolean" and value in {"true", "false"}:
            return value == "true"
    except ValueError:
        # Whoever gives it its type says what is wrong with it.
        pass
    return value


def answer_xml(
    operation: OperationModel, namespace: str, result: Mapping[str, Any], request_id: str
) -> bytes:
    """The body of an answer. Members that are None are left out; times must have a zone."""
    root = ET.Element(f"{operation.name}Response", xmlns=namespace)
    shape = operation.output_shape
    if shape is not None:
        wrapper = ET.SubElement(root, shape.serialization["resultWrapper"])
        _write_members(wrapper, shape, result)
    _text(ET.SubElement(root, "ResponseMetadata"), "RequestId", request_id)
    return _bytes(root)


def error_xml(
    namespace: str, code: str, message: str, request_id: str, *, is_callers: bool
) -> bytes:
    """The body of an error."""
    root = ET.Element("ErrorResponse", xmlns=namespace)
    error = ET.SubElement(root, "Error")
    _text(error, "Type", "Sender" if is_callers else "Receiver")
    _text(error, "Code", code)
    _text(error, "Message", message)
    _text(root, "RequestId", request_id)
    return _bytes(root)


def _write_members(parent: ET.Element, shape: StructureShape, value: Mapping[str, Any]) -> None:
    for name, member in value.items():
        if member is not None:
            _write(ET.SubElement(parent, name), shape.members[name], member)


def _write(element: ET.Element, shape: Shape, value: Any) -> None:
    match shape:
        case StructureShape():
            _write_members(element, shape, value)
        case ListShape():
            for item in value:
                _write(ET.SubElement(element, "member"), shape.member, item)
        case MapShape():
            for key, item in value.items():
                entry = ET.SubElement(element, "entry")
                _text(entry, "key", key)
                _write(ET.SubElement(entry, "value"), shape.value, item)
        case _:
            element.text = _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return _NOT_XML.sub("\ufffd", str(value))


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = _scalar(text)


def _bytes(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
