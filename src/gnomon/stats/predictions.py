"""What an answer predicts, read from the shapes in which models commonly answer.

A prediction is a label (a string), a whole number (a label or a value: `state` keeps both
readings) or a value. Anything else predicts nothing that is understood here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon.stats.csv_difference import number_of
from gnomon.stats.differences import joinable

Prediction = str | int | float

# Of one answer so many predictions are looked at: batches must not cost more than comparing does.
_MOST_PREDICTIONS = 256
# A label is from a closed set; anything longer is text.
_MOST_LABEL = 128
# A whole number is a label or a count; a longer one is known as a float.
_MOST_DIGITS = 18
# How far from 1 the scores of one prediction may sum up to, written with few digits as they are.
_SUM_TOLERANCE = 0.01

_LISTS = ("predictions", "results", "outputs")
_LABELS = ("predicted_label", "label", "predicted_class", "class", "prediction")
_SCORES = ("probabilities", "probs", "scores", "logits")
_VALUES = ("prediction", "value", "score", "output", "result")


def of_json(document: Any) -> list[Prediction] | None:
    """The predictions of a JSON answer; None where one is not understood."""
    if isinstance(document, dict):
        document = next((document[name] for name in _LISTS if name in document), document)
    return _all(document if isinstance(document, list) else [document], _of_value)


def of_csv(rows: Sequence[Sequence[str]]) -> list[Prediction] | None:
    """The predictions of a CSV answer, one a row; None where one is not understood."""
    return _all(rows, _of_row)


def _all(items: Sequence[Any], read: Any) -> list[Prediction] | None:
    found = []
    for item in items[:_MOST_PREDICTIONS]:
        prediction = read(item)
        if prediction is None:
            return None
        found.append(prediction)
    return found or None


def _of_value(value: Any) -> Prediction | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _label(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        if len(value) == 1:
            return _of_value(value[0])
        return _highest(value) if _are_probabilities(value) else None
    return _of_object(value) if isinstance(value, dict) else None


def _of_object(value: dict[str, Any]) -> Prediction | None:
    for name in _LABELS:
        if isinstance(label := value.get(name), str | bool | int):
            return _of_value(label)
    for name in _SCORES:
        scores = value.get(name)
        if isinstance(scores, list) and len(scores) > 1 and _are_numbers(scores):
            return _highest(scores)
        if isinstance(scores, dict) and scores and _are_numbers(scores.values()):
            return _of_value(max(scores, key=lambda label: (scores[label], label)))
    for name in _VALUES:
        if isinstance(number := value.get(name), int | float):
            return number
    return None


def _of_row(row: Sequence[str]) -> Prediction | None:
    cells: list[Prediction] = []
    for cell in row:
        text = cell.strip()
        number = number_of(text)
        if number is None:
            return _label(text) if text else None
        is_whole = len(text) <= _MOST_DIGITS and text.lstrip("+-").isdecimal()
        cells.append(int(text) if is_whole else number)
    return _of_value(cells)


def _label(text: str) -> str | None:
    if len(text) > _MOST_LABEL:
        return None
    return text if text.isprintable() else joinable(text)


def _are_numbers(values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _are_probabilities(values: list[Any]) -> bool:
    return (
        len(values) > 1
        and _are_numbers(values)
        and all(0 <= value <= 1 for value in values)
        and abs(sum(values) - 1) <= _SUM_TOLERANCE
    )


def _highest(scores: list[float]) -> str:
    """The place of the highest score, as a label; the first of equal ones."""
    return str(max(range(len(scores)), key=scores.__getitem__))
