"""The default codecs: from a request's body to data and from a prediction to a body.

The content types are those of AWS's inference toolkit. numpy is imported only when a body needs
it: JSON works without, and a model without arrays never loads it. As in the toolkit, an array of
numbers in JSON or CSV becomes a numpy array; unlike there, nothing is bent into one: JSON that is
no such array stays as it is, and text in CSV stays text.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
from typing import Any, Callable, Dict, List, Mapping, Tuple

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
NPZ = "application/x-npz"

# Bodies of these are decoded as UTF-8 before any handler sees them.
TEXT_TYPES = frozenset([JSON, CSV])


class CodecError(Exception):
    """A body that cannot be read or written; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def acceptable(accept: str, default: str) -> List[str]:
    """What an Accept header asks for, best first; `default` stands in for nothing and for `*/*`."""
    ranges = []
    for item in accept.split(","):
        name, _, parameters = item.strip().partition(";")
        quality = _quality(parameters)
        if name.strip() and quality > 0:
            ranges.append((quality, default if name.strip() == "*/*" else name.strip()))
    # Stable: of equal quality, the one named first.
    ranges.sort(key=lambda ranged: -ranged[0])
    return [name for _, name in ranges] or [default]


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def text_of(body: bytes, content_type: str) -> Any:
    """The body as its handlers get it: text for JSON and CSV, else bytes."""
    if media_type(content_type) not in TEXT_TYPES:
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodecError(400, "The body is not UTF-8: %s" % error) from error


def decode(body: Any, content_type: str) -> Any:
    """Data from a body that `text_of` gave. Raises CodecError 415 or 400."""
    kind = media_type(content_type)
    decoders: Dict[str, Callable[[Any], Any]] = {
        JSON: _from_json,
        CSV: _from_csv,
        NPY: _from_npy,
        NPZ: _from_npz,
    }
    if kind not in decoders:
        raise CodecError(
            415,
            "The content type %s is not supported; the default codecs read %s."
            % (content_type, ", ".join(decoders)),
        )
    try:
        return decoders[kind](body)
    except (ValueError, EOFError, OSError, KeyError, csv.Error, RecursionError) as error:
        raise CodecError(400, "The body is not valid %s: %s" % (kind, error)) from error


def encode(prediction: Any, accepts: List[str]) -> Tuple[bytes, str]:
    """A body and its content type, by the first of `accepts` that there is a codec for.

    Raises CodecError 406; a prediction that does not fit its codec raises as it may.
    """
    encoders = {JSON: _to_json, CSV: _to_csv, NPY: _to_npy, NPZ: _to_npz}
    for accept in accepts:
        kind = media_type(accept)
        if kind in encoders:
            return encoders[kind](prediction), kind
    raise CodecError(
        406,
        "None of the accepted types (%s) is supported; the default codecs write %s."
        % (", ".join(accepts), ", ".join(encoders)),
    )


# --- Reading ----------------------------------------------------------------------------------


def _from_json(text: str) -> Any:
    value = json.loads(text)
    return _array_or(value) if isinstance(value, list) else value


def _from_csv(text: str) -> Any:
    """Rows, always in two dimensions."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    try:
        numbers = [[float(cell) for cell in row] for row in rows]
    except ValueError:
        return rows
    return _array_or(numbers)


def _array_or(value: List[Any]) -> Any:
    """The value as an array of numbers, if it is one and there is numpy."""
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return value
    try:
        array = numpy.array(value)
    except (ValueError, OverflowError):
        # Rows of different lengths.
        return value
    return array if array.dtype.kind in "biuf" else value


def _from_npy(body: bytes) -> Any:
    # Pickled objects would run what the client sends.
    return importlib.import_module("numpy").load(io.BytesIO(body), allow_pickle=False)


def _from_npz(body: bytes) -> Any:
    """A sparse matrix if scipy wrote one, else the arrays by name."""
    numpy = importlib.import_module("numpy")
    with numpy.load(io.BytesIO(body), allow_pickle=False) as arrays:
        if "format" not in arrays.files:
            return {name: arrays[name] for name in arrays.files}
    return importlib.import_module("scipy.sparse").load_npz(io.BytesIO(body))


# --- Writing ----------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy and its like, as Python's own, without importing it."""
    convert = getattr(value, "tolist", None)
    if convert is None:
        raise TypeError("%s cannot be written as JSON" % type(value).__name__)
    return convert()


def _to_json(prediction: Any) -> bytes:
    return json.dumps(prediction, default=_plain).encode("utf-8")


def _to_csv(prediction: Any) -> bytes:
    """One line a row; a flat list is a column, as one prediction a line is what reads it back."""
    value = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    rows = value if isinstance(value, (list, tuple)) else [value]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(row if isinstance(row, (list, tuple)) else [row])
    return text.getvalue().encode("utf-8")


def _to_npy(prediction: Any) -> bytes:
    numpy = importlib.import_module("numpy")
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.asarray(prediction), allow_pickle=False)
    return buffer.getvalue()


def _to_npz(prediction: Any) -> bytes:
    numpy = importlib.import_module("numpy")
    buffer = io.BytesIO()
    if hasattr(prediction, "tocsr"):
        importlib.import_module("scipy.sparse").save_npz(buffer, prediction)
    elif isinstance(prediction, Mapping):
        numpy.savez(buffer, **{str(name): value for name, value in prediction.items()})
    else:
        numpy.savez(buffer, numpy.asarray(prediction))
    return buffer.getvalue()
