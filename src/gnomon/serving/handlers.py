"""The user's handlers, and the defaults for those that are missing.

`code/inference.py` may define model_fn(model_dir[, context]), input_fn(body, content_type[,
context]), predict_fn(data, model[, context]) and output_fn(prediction, accept[, context]), or,
in place of the last three, transform_fn(model, body, content_type, accept[, context]). Whatever
makes the body may also yield it, in parts that are then sent as they come.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator, List, Optional, Tuple, Union

from . import codecs, defaults
from .context import Context
from .environment import Environment

Handler = Callable[..., Any]

# Whole, or in the parts in which it is to be sent.
Body = Union[bytes, Iterator[bytes]]


class HandlersUnusable(Exception):
    """Code that defines handlers which cannot go together, or none."""


class Handlers:
    """The handlers of one model; each takes its context as the last argument."""

    def __init__(self, module: Optional[ModuleType]) -> None:
        def find(name: str, count: int) -> Optional[Handler]:
            function = getattr(module, name, None)
            return None if function is None else _with_context(function, count)

        self._model_fn = find("model_fn", 1)
        self._input_fn = find("input_fn", 2)
        self._predict_fn = find("predict_fn", 2)
        self._output_fn = find("output_fn", 2)
        self._transform_fn = find("transform_fn", 4)
        if self._transform_fn and (self._input_fn or self._predict_fn or self._output_fn):
            raise HandlersUnusable(
                "transform_fn takes the place of input_fn, predict_fn and output_fn: define it, "
                "or any of the others, not both."
            )

    def load(self, model_dir: Path) -> Any:
        """The model: whatever model_fn returns."""
        if self._model_fn is None:
            return defaults.load(model_dir)
        return self._model_fn(str(model_dir), Context(str(model_dir)))

    def transform(
        self, model: Any, body: Any, content_type: str, accepts: List[str], context: Context
    ) -> Tuple[Body, str]:
        """The answer's body and content type. Raises CodecError, or whatever a handler raises.

        A body that a handler yields is an iterator, which may raise as well.
        """
        if self._transform_fn is not None:
            result = self._transform_fn(model, body, content_type, accepts[0], context)
            return _body_of(result, "transform_fn", accepts[0])
        if self._input_fn is None:
            data = codecs.decode(body, content_type)
        else:
            data = self._input_fn(body, content_type, context)
        if self._predict_fn is None:
            prediction = defaults.predict(data, model)
        else:
            prediction = self._predict_fn(data, model, context)
        if self._output_fn is None and isinstance(prediction, Iterator):
            return _parts_of(prediction, "predict_fn"), accepts[0]
        if self._output_fn is None:
            return codecs.encode(prediction, accepts)
        return _body_of(self._output_fn(prediction, accepts[0], context), "output_fn", accepts[0])


def import_program(environment: Environment) -> Optional[ModuleType]:
    """The user's module, with its directory on sys.path; None if the archive has none."""
    path = environment.program_path
    if not path.is_file():
        return None
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise HandlersUnusable("%s is not a Python file." % path)
    module = importlib.util.module_from_spec(spec)
    # Before it runs, so that what it pickles and imports finds it under its name.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _with_context(function: Handler, count: int) -> Handler:
    """A handler that can always be given a context, after its `count` arguments."""
    if _takes_context(function, count):
        return function
    return lambda *arguments: function(*arguments[:count])


def _takes_context(function: Handler, count: int) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) <= count:
        return False
    # One with a default is the user's own option, unless it is called a context.
    further = positional[count]
    return further.default is further.empty or further.name in ("context", "ctx", "_context")


def _body_of(result: Any, handler: str, accept: str) -> Tuple[Body, str]:
    content_type = accept
    if isinstance(result, tuple) and len(result) == 2:
        result, content_type = result
    if isinstance(result, Iterator):
        return _parts_of(result, handler), content_type
    body = _bytes_of(result)
    if body is None:
        raise TypeError(
            "%s returned a %s; it must return text or bytes, or an iterator of these, alone or "
            "with their content type." % (handler, type(result).__name__)
        )
    return body, content_type


def _parts_of(parts: Iterator[Any], handler: str) -> Iterator[bytes]:
    try:
        for part in parts:
            encoded = _bytes_of(part)
            if encoded is None:
                raise TypeError(
                    "%s yielded a %s; it must yield text or bytes." % (handler, type(part).__name__)
                )
            yield encoded
    finally:
        # The user's own clean-up, when nobody wants the rest.
        close = getattr(parts, "close", None)
        if close is not None:
            close()


def _bytes_of(value: Any) -> Optional[bytes]:
    if isinstance(value, str):
        return value.encode("utf-8")
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else None
