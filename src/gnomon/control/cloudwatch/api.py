"""CloudWatch's read API: from a request's bytes to an answer's, whatever the request was.

The wire is `gnomon.aws.cloudwatch_protocol`'s. Only Gnomon's own metrics are there: nothing can be
put, and alarms and dashboards are not.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from gnomon.aws import cloudwatch_protocol
from gnomon.aws.cloudwatch_protocol import Form, Service, form_of
from gnomon.aws.response import Response
from gnomon.aws.validation import validate
from gnomon.control.cloudwatch.data import get_metric_data
from gnomon.control.cloudwatch.listing import list_metrics
from gnomon.control.cloudwatch.reading import Readings
from gnomon.control.cloudwatch.statistics import get_metric_statistics
from gnomon.errors import exhaustion

Operation = Callable[[Readings, Mapping[str, Any]], Awaitable[dict[str, Any]]]

OPERATIONS: dict[str, Operation] = {
    "GetMetricStatistics": get_metric_statistics,
    "GetMetricData": get_metric_data,
    "ListMetrics": list_metrics,
}
_INTERNAL = 500

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CloudWatch:
    """Answers the operations above."""

    service: Service
    readings: Readings

    async def handle(self, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer to one request; `headers` by lower-case names. Never raises for the request's
        sake.
        """
        request_id = str(uuid.uuid4())
        form = form_of(headers)
        with bound_contextvars(request_id=request_id):
            try:
                return await self._answer(form, headers, body, request_id)
            except Exception as error:  # noqa: BLE001 - a request ends here
                known = exhaustion(error) or error
                answer = cloudwatch_protocol.error(self.service, form, known, request_id)
                if answer.status == _INTERNAL:
                    _LOG.exception("a request failed")
                else:
                    _LOG.info("a request was refused", reason=str(known))
                return answer

    async def _answer(
        self, form: Form, headers: Mapping[str, str], body: bytes, request_id: str
    ) -> Response:
        operation, params = cloudwatch_protocol.parse(self.service, headers, body)
        validate(operation.input_shape, params, frozenset())
        result = await OPERATIONS[operation.name](self.readings, params)
        return cloudwatch_protocol.answer(self.service, operation, form, result, request_id)


def load() -> Service:
    """CloudWatch's service model, narrowed to the operations here."""
    return cloudwatch_protocol.load_service(tuple(OPERATIONS))
