"""Where a whole request goes: to a model, to control, or back with an error.

Everything outside `/endpoints/` belongs to control and is passed to it unchanged, so that one URL
serves SageMaker, its runtime and CloudWatch.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.model.clock import Clock
from gnomon.router import replies
from gnomon.router.call import Call, UpstreamAnswer
from gnomon.router.decide import Failure
from gnomon.router.exchange import Client, EventIds, Exchange
from gnomon.router.plane import DataPlane
from gnomon.router.pool import Pool
from gnomon.router.request import Request
from gnomon.router.routes import RoutingTable

_PREFIX = b"/endpoints/"
# What AWS's query protocol sends, as older clients of CloudWatch do.
_QUERY = b"application/x-www-form-urlencoded"
_CONTROL_AWAY = "Gnomon's control process cannot be reached now. Try again."

_TWO_HOSTS = runtime_errors.validation_error("The header Host is given more than once.")


class Front:
    """Serves whole requests; it holds nothing about any of them."""

    def __init__(
        self,
        routes: RoutingTable,
        plane: DataPlane,
        control: Pool,
        clock: Clock,
        event_ids: EventIds,
        account_id: str,
        max_answer_bytes: int,
    ) -> None:
        self._routes = routes
        self._plane = plane
        self._control = control
        self._clock = clock
        self._event_ids = event_ids
        self._account_id = account_id
        self._max_answer_bytes = max_answer_bytes

    def serve(self, client: Client, request: Request) -> Exchange | None:
        """Answer the request, now or later. The exchange is returned if a model is asked."""
        endpoint = self._routes.by_path.get(request.url)
        if endpoint is not None and request.method == b"POST":
            return self._plane.serve(client, endpoint, request)
        path = _path(request.url)
        if not path.startswith(_PREFIX):
            self._pass_on(client, request)
            return None
        endpoint = self._routes.by_path.get(path)
        if endpoint is None:
            endpoint = self._routes.by_stream_path.get(path)
            if endpoint is not None:
                request.stream()
        if endpoint is not None and request.method == b"POST":
            return self._plane.serve(client, endpoint, request)
        self.refuse(client, self._error(request.method, path))
        return None

    def refuse(self, client: Client, failure: RuntimeFailure) -> None:
        """Answer with an error that is no model's."""
        request_id = self._event_ids.next()
        head = replies.failed(failure, date=self._plane.date, request_id=request_id)
        client.answer(head, failure.body)

    def _error(self, method: bytes, path: bytes) -> RuntimeFailure:
        name, _, operation = path.removeprefix(_PREFIX).partition(b"/")
        if operation not in {b"invocations", b"invocations-response-stream"}:
            return _unknown_operation(404, "There is no such operation on an endpoint.")
        if method != b"POST":
            return _unknown_operation(405, "An endpoint is invoked by POST.")
        return runtime_errors.endpoint_not_found(name.decode("utf-8", "replace"), self._account_id)

    def _pass_on(self, client: Client, request: Request) -> None:
        if sum(name.lower() == b"host" for name, _ in request.headers) > 1:
            self.refuse(client, _TWO_HOSTS)
            return
        self._control.submit(
            _Passed(self, client, request, self._clock.monotonic_s(), self._max_answer_bytes)
        )


class _Passed(Call):
    """A request on its way to control."""

    __slots__ = ("_answer_bytes", "_client", "_front", "_is_query", "_max_answer_bytes")

    def __init__(
        self,
        front: Front,
        client: Client,
        request: Request,
        submitted_s: float,
        max_answer_bytes: int,
    ) -> None:
        head = replies.request_to_pass_on(
            request.method, request.url, request.headers, request.body
        )
        super().__init__(head, request.body, submitted_s)
        self.is_head_request = request.method == b"HEAD"
        self._front = front
        self._client = client
        self._is_query = (request.content_type or b"").startswith(_QUERY)
        self._answer_bytes = 0
        self._max_answer_bytes = max_answer_bytes

    def takes(self, body_bytes: int, /) -> bool:
        self._answer_bytes += body_bytes
        return self._answer_bytes <= self._max_answer_bytes

    def answered(self, answer: UpstreamAnswer, _at_s: float, /) -> None:
        head = replies.passed_on(answer, to_head_request=self.is_head_request)
        self._client.answer(head, answer.body)

    def failed(self, _failure: Failure, _at_s: float, /) -> None:
        say = (
            runtime_errors.service_unavailable_in_query
            if self._is_query
            else runtime_errors.service_unavailable
        )
        self._front.refuse(self._client, say(_CONTROL_AWAY))


def _path(url: bytes) -> bytes:
    """The path of a request's target in any of its forms, without escapes."""
    if not url.startswith(b"/"):
        try:
            url = urlsplit(url).path
        except ValueError:
            return b""
    return unquote_to_bytes(url.partition(b"?")[0])


def _unknown_operation(status: int, message: str) -> RuntimeFailure:
    code = "UnknownOperationException"
    body = {"__type": code, "Message": message, "message": message}
    return RuntimeFailure(status, code, msgspec.json.encode(body))
