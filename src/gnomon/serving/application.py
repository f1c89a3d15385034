"""The two paths of the container contract: /ping and /invocations.

Handlers are called in the thread of their connection, several at a time: a model that is not safe
for that holds a lock of its own.
"""

from __future__ import annotations

import re
import traceback
from typing import Any, Callable, Generator, Iterator, Optional

from . import codecs
from .context import Context
from .environment import Environment
from .handlers import Body, Handlers, import_program
from .log import say
from .wire import PartsBroken, Request, Response

_TEXT = "text/plain; charset=utf-8"

# The id that a router of Gnomon's gives a request, which its client sees as x-amzn-RequestId. A
# shadow's copy has the same.
_REQUEST_ID = "x-gnomon-event-id"

_METHODS = {"/ping": "GET", "/invocations": "POST"}

# What a header may be on the wire (RFC 9110, 5.5 and 5.6.2), and which ones are the server's own.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = frozenset({"connection", "content-length", "trailer", "transfer-encoding", "upgrade"})

_NOT_LOADED = Response(503, b"The model is still loading.\n", _TEXT)


class Application:
    """Answers requests; until `load` has returned, by 503."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._model: Any = None
        self._handlers: Optional[Handlers] = None

    def load(self, before_open: Callable[[], None] = lambda: None) -> None:
        """Import the user's code and load the model. Raises whatever they raise.

        `before_open` is called when the model is there and no ping has yet been answered well.
        """
        handlers = Handlers(import_program(self._environment))
        self._model = handlers.load(self._environment.model_dir)
        before_open()
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
        try:
            # As in AWS's toolkit, a client that says nothing sends and wants JSON.
            content_type = request.headers.get("content-type") or codecs.JSON
            default_accept = self._environment.default_accept or codecs.JSON
            accepts = codecs.acceptable(request.headers.get("accept", ""), default_accept)
            context = Context(str(self._environment.model_dir), request.headers)
            body, content_type = handlers.transform(
                self._model,
                codecs.text_of(request.body, content_type),
                content_type,
                accepts,
                context,
            )
            if not isinstance(body, bytes):
                body = self._begun(body, request)
            return _answer(body, context.content_type or content_type, context)
        except codecs.CodecError as error:
            return Response(error.status, (str(error) + "\n").encode("utf-8"), _TEXT)
        except BaseException as error:
            # SystemExit and all: whatever a handler raises, no answer would look like a dead
            # instance. Signals' exceptions are raised in the main thread, never here.
            said = _said(error)
            self._say("a request failed", said, request)
            return Response(500, said.encode("utf-8", "backslashreplace"), _TEXT)

    def _begun(self, parts: Iterator[bytes], request: Request) -> Iterator[bytes]:
        """The parts, of which the first is there: what fails before it is answered as an error."""
        rest = self._rest(next(parts, b""), parts, request)
        # Begun, so that closing it closes the handler's.
        next(rest)
        return rest

    def _rest(
        self, first: bytes, parts: Iterator[bytes], request: Request
    ) -> Generator[bytes, None, None]:
        try:
            yield b""
            yield first
            yield from parts
        except GeneratorExit:
            raise
        except BaseException as error:
            self._say("a streamed answer failed", _said(error), request)
            raise PartsBroken from None
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def _say(self, what: str, said: str, request: Request) -> None:
        say(
            what + "\n" + said.rstrip(),
            instance=self._environment.instance_id,
            request_id=request.headers.get(_REQUEST_ID, ""),
        )


def _answer(body: Body, content_type: str, context: Context) -> Response:
    """What the handlers answer, if it can be sent; raises ValueError otherwise."""
    status = context.status
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError("The answer's status must be a number from 200 to 599, not %r" % (status,))
    headers = dict(context.response_headers)
    for name in headers:
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError("The answer has a header with the name %r" % (name,))
        if name.lower() in _FRAMING:
            raise ValueError("The header %s is the server's own, not a handler's" % name)
    for value in (content_type, *headers.values()):
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                "A header of the answer must be Latin-1 text in one line, not %r" % (value,)
            )
    if isinstance(body, bytes):
        return Response(status, body, content_type, headers)
    return Response(status, b"", content_type, headers, body)


def _said(error: BaseException) -> str:
    # Not str(error), which may raise for classes of a model's own.
    summary = "".join(traceback.format_exception_only(type(error), error))
    return summary + "\n" + traceback.format_exc()
