"""The two paths of the container contract: /ping and /invocations.

Handlers are called in the thread of their connection, several at a time: a model that is not safe
for that holds a lock of its own.
"""

from __future__ import annotations

import traceback
from typing import Any, Optional

from . import codecs
from .context import Context
from .environment import Environment
from .handlers import Handlers, import_program
from .log import say
from .wire import Request, Response

_TEXT = "text/plain; charset=utf-8"

# The id that a router of Gnomon's gives a request, which its client sees as x-amzn-RequestId. A
# shadow's copy has the same.
_REQUEST_ID = "x-gnomon-event-id"

_METHODS = {"/ping": "GET", "/invocations": "POST"}

_NOT_LOADED = Response(503, b"The model is still loading.\n", _TEXT)


class Application:
    """Answers requests; until `load` has returned, by 503."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._model: Any = None
        self._handlers: Optional[Handlers] = None

    def load(self) -> None:
        """Import the user's code and load the model. Raises whatever they raise."""
        handlers = Handlers(import_program(self._environment))
        self._model = handlers.load(self._environment.model_dir)
        self._handlers = handlers

    def answer(self, request: Request) -> Response:
        method = _METHODS.get(request.path)
        if method is None:
            return Response(404, b"There are /ping and /invocations.\n", _TEXT)
        if request.method != method:
            return Response(405, headers={"Allow": method})
        if self._handlers is None:
            return _NOT_LOADED
        return Response(200) if method == "GET" else self._invoke(request, self._handlers)

    def _invoke(self, request: Request, handlers: Handlers) -> Response:
        # As in AWS's toolkit, a client that says nothing sends and wants JSON.
        content_type = request.headers.get("content-type") or codecs.JSON
        default_accept = self._environment.default_accept or codecs.JSON
        accepts = codecs.acceptable(request.headers.get("accept", ""), default_accept)
        context = Context(str(self._environment.model_dir), request.headers)
        try:
            body, content_type = handlers.transform(
                self._model,
                codecs.text_of(request.body, content_type),
                content_type,
                accepts,
                context,
            )
            return _answer(body, context.content_type or content_type, context)
        except codecs.CodecError as error:
            return Response(error.status, (str(error) + "\n").encode("utf-8"), _TEXT)
        except Exception as error:
            trace = traceback.format_exc()
            say(
                "a request failed\n" + trace.rstrip(),
                instance=self._environment.instance_id,
                request_id=request.headers.get(_REQUEST_ID, ""),
            )
            said = "%s: %s\n\n%s" % (type(error).__name__, error, trace)
            return Response(500, said.encode("utf-8", "backslashreplace"), _TEXT)


def _answer(body: bytes, content_type: str, context: Context) -> Response:
    for text in (content_type, *context.response_headers, *context.response_headers.values()):
        if not isinstance(text, str) or "\r" in text or "\n" in text:
            raise ValueError("A header of the answer must be text in one line, not %r" % (text,))
    return Response(context.status, body, content_type, context.response_headers)
