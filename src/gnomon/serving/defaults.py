"""What serves an archive without code of its own: a model that scikit-learn's users save."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

# In this order; then any other single file of these kinds.
_NAMES = ("model.joblib", "model.pkl", "model.pickle")
_PATTERNS = ("*.joblib", "*.pkl", "*.pickle")


class ModelNotFound(Exception):
    """The archive has neither code nor a model that can be served without."""


def load(model_dir: Path) -> Any:
    """The model in `model_dir`. Raises ModelNotFound."""
    path = _find(model_dir)
    try:
        joblib = importlib.import_module("joblib")
    except ImportError:
        # pickle reads what pickle wrote; for joblib's own files it says what is wrong.
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 - an archive's code is run as well: it is trusted
    return joblib.load(path)


def predict(data: Any, model: Any) -> Any:
    """`model.predict`, or the model itself if it can be called; numbers in a line are one row."""
    if getattr(data, "ndim", None) == 1 and data.dtype.kind in "biuf":
        data = data.reshape(1, -1)
    if hasattr(model, "predict"):
        return model.predict(data)
    if callable(model):
        return model(data)
    raise TypeError(
        "A %s has no predict method: write predict_fn in code/inference.py" % type(model).__name__
    )


def _find(model_dir: Path) -> Path:
    for name in _NAMES:
        path = model_dir / name
        if path.is_file():
            return path
    found = [path for pattern in _PATTERNS for path in model_dir.glob(pattern)]
    if len(found) == 1:
        return found[0]
    raise ModelNotFound(
        "The model archive has no code/inference.py, and %s: Gnomon serves an archive without code "
        "only if it holds one scikit-learn model, as model.joblib or model.pkl."
        % ("several models" if found else "no model.joblib or model.pkl")
    )
