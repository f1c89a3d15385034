"""The handlers of both models, in SageMaker's convention: it becomes `code/inference.py`.

An archive holds this file beside `model.joblib`, and it runs in an instance, with nothing else of
the demo at hand. Training (`training.py`) uses `encode` too, so that a model is asked in the very
terms that it learned in. Rows are encoded by hand: for one row, a ColumnTransformer costs more than
the model itself.
"""

import os
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import joblib
import numpy as np
import numpy.typing as npt

# Each instance writes how many invocations it answered into a file of its own below the directory
# that this variable names: a count that owes nothing to Gnomon's own.
COUNT_DIR_VARIABLE = "DEMO_COUNT_DIR"
_COUNT = struct.Struct("<q")

Matrix = npt.NDArray[np.float64]


class Encoding(TypedDict):
    """How a line of CSV becomes a row of numbers; kept in the archive with the model.

    `categories` maps a column to its values' positions, `fill` a column to what stands in for a
    missing number (else it is NaN). With `one_hot` each value of a category has a column of its
    own, else a category is one column of positions. A value that training did not see is unknown:
    no column, or NaN.
    """

    columns: int
    categories: dict[int, dict[str, int]]
    fill: dict[int, float]
    one_hot: bool


def encode(lines: Sequence[str], encoding: Encoding) -> Matrix:
    """One row for each line. Raises ValueError for a line that has not the columns it should."""
    layout = [
        (column, encoding["categories"].get(column), encoding["fill"].get(column, np.nan))
        for column in range(encoding["columns"])
    ]
    one_hot = encoding["one_hot"]
    width = sum(len(codes) if codes and one_hot else 1 for _, codes, _ in layout)
    matrix: Matrix = np.zeros((len(lines), width))
    for row, line in zip(matrix, lines, strict=True):
        cells = line.split(",")
        if len(cells) != encoding["columns"]:
            raise ValueError(f"A flight has {encoding['columns']} cells, not {len(cells)}: {line}")
        place = 0
        for column, codes, fill in layout:
            cell = cells[column]
            if codes is None:
                row[place] = float(cell) if cell else fill
                place += 1
            elif one_hot:
                code = codes.get(cell)
                if code is not None:
                    row[place + code] = 1.0
                place += len(codes)
            else:
                row[place] = codes.get(cell, np.nan)
                place += 1
    return matrix


class AnswerCount:
    """How many invocations this process answered: eight bytes in a file, never torn."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._lock = threading.Lock()
        self._count = 0
        os.pwrite(self._file, _COUNT.pack(0), 0)

    def add(self) -> None:
        with self._lock:
            self._count += 1
            os.pwrite(self._file, _COUNT.pack(self._count), 0)


def read_counts(directory: Path) -> dict[str, int]:
    """Variant to how many invocations its instances answered, all that ever ran."""
    counts: dict[str, int] = {}
    for path in directory.glob("*/*"):
        (count,) = _COUNT.unpack(path.read_bytes())
        counts[path.parent.name] = counts.get(path.parent.name, 0) + count
    return counts


@dataclass(frozen=True)
class Model:
    """What `model_fn` loads: an estimator, the terms it learned in, and its count."""

    estimator: Any
    encoding: Encoding
    answers: AnswerCount | None


def model_fn(model_dir: str) -> Model:
    kept = joblib.load(Path(model_dir) / "model.joblib")
    return Model(kept["estimator"], kept["encoding"], _own_count(os.environ))


def input_fn(body: str, content_type: str) -> list[str]:
    if content_type.partition(";")[0].strip() != "text/csv":
        raise ValueError(f"Flights are asked about in text/csv, not {content_type}.")
    return body.split()


def predict_fn(lines: Sequence[str], model: Model) -> npt.NDArray[np.bool_]:
    is_late: npt.NDArray[np.bool_] = model.estimator.predict(encode(lines, model.encoding))
    if model.answers is not None:
        model.answers.add()
    return is_late


def output_fn(is_late: npt.NDArray[np.bool_], accept: str) -> tuple[str, str]:  # noqa: ARG001 - SageMaker calls it so
    return "\n".join("1" if late else "0" for late in is_late), "text/csv"


def _own_count(environment: Mapping[str, str]) -> AnswerCount | None:
    directory = environment.get(COUNT_DIR_VARIABLE)
    if not directory:
        return None
    variant = environment.get("GNOMON_VARIANT_NAME", "unknown")
    instance = environment.get("GNOMON_INSTANCE_ID", "process")
    return AnswerCount(Path(directory) / variant / f"{instance}-{os.getpid()}")
