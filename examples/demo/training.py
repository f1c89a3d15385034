"""Trains the two models and packs each as SageMaker wants it: a model.tar.gz with its handlers."""

import io
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from examples.demo import inference
from examples.demo.flights import FEATURES, Flight
from examples.demo.inference import Encoding, encode

_CATEGORIES = tuple(FEATURES.index(name) for name in ("weekday", "carrier", "origin", "dest"))

# Every third flight of the past: neither model learns much more from the others.
_STEP = 3

# Enough for the regression to converge; it needs about half.
_LOGISTIC_ITERATIONS = 200


@dataclass(frozen=True)
class Trained:
    """A model ready to be packed; `flights` is how many it learned from."""

    title: str
    estimator: Any
    encoding: Encoding
    flights: int
    took_s: float

    def labels(self, lines: Sequence[str]) -> list[str]:
        """What the endpoint must answer to each line, computed right here."""
        predicted = self.estimator.predict(encode(lines, self.encoding))
        return ["1" if is_late else "0" for is_late in predicted]


def train_logistic(past: Sequence[Flight]) -> Trained:
    """Production: a logistic regression."""
    learned = past[::_STEP]
    encoding = encoding_of(learned, one_hot=True)
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_LOGISTIC_ITERATIONS))
    return _fitted("logistic regression", estimator, learned, encoding)


def train_boosting(past: Sequence[Flight]) -> Trained:
    """The shadow: gradient boosting."""
    learned = past[::_STEP]
    encoding = encoding_of(learned, one_hot=False)
    estimator = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    return _fitted("gradient boosting", estimator, learned, encoding)


def encoding_of(flights: Sequence[Flight], *, one_hot: bool) -> Encoding:
    """The encoding that `flights` call for. One-hot is for models that cannot take a NaN."""
    columns = list(zip(*(flight.line.split(",") for flight in flights), strict=True))
    categories = {
        column: {value: code for code, value in enumerate(sorted(set(columns[column])))}
        for column in _CATEGORIES
    }
    fill = {
        column: float(np.mean([float(cell) for cell in cells if cell] or [0.0]))
        for column, cells in enumerate(columns)
        if one_hot and column not in categories
    }
    return Encoding(columns=len(FEATURES), categories=categories, fill=fill, one_hot=one_hot)


def pack(model: Trained, path: Path) -> None:
    """Writes the model's archive: model.joblib and code/inference.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = io.BytesIO()
    joblib.dump({"estimator": model.estimator, "encoding": model.encoding}, kept)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        item = tarfile.TarInfo("model.joblib")
        item.size = kept.tell()
        item.mtime = int(time.time())
        kept.seek(0)
        archive.addfile(item, kept)
        archive.add(inference.__file__, "code/inference.py")


def _fitted(title: str, estimator: Any, flights: Sequence[Flight], encoding: Encoding) -> Trained:
    began_s = time.monotonic()
    is_late: npt.NDArray[np.bool_] = np.array([flight.is_late for flight in flights])
    matrix = encode([flight.line for flight in flights], encoding)
    # On a machine that does other work, threads of OpenMP wait for each other far longer than they
    # work: one thread takes seconds, two may take minutes.
    with threadpool_limits(1):
        estimator.fit(matrix, is_late)
    return Trained(title, estimator, encoding, len(flights), time.monotonic() - began_s)
