"""The one table from Gnomon's errors to what a client of the control API sees.

Its counterpart for InvokeEndpoint is `gnomon.aws.runtime_errors`. A client must find the text
under one spelling only, that of the error's shape: R's paws fails when both are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gnomon.aws.response import Response, control_headers
from gnomon.errors import (
    Conflict,
    GnomonError,
    MachineExhausted,
    ModelDataUnavailable,
    OperationNotSupported,
    ResourceInUse,
    ResourceLimitExceeded,
    ResourceNotFound,
    ValidationFailed,
)


class SerializationFailed(GnomonError):
    """A body that is not JSON, or has a value of a type that the operation does not take there."""


class UnknownOperation(GnomonError):
    """A request that names no operation of SageMaker's."""


class RequestTooLong(GnomonError):
    """A body that is far longer than any request of SageMaker's."""


@dataclass(frozen=True)
class _Answer:
    code: str
    status: int
    text_member: str


# SageMaker's model gives its four error shapes a `Message`; what it does not model has `message`.
_ANSWERS: dict[type[GnomonError], _Answer] = {
    ValidationFailed: _Answer("ValidationException", 400, "message"),
    ModelDataUnavailable: _Answer("ValidationException", 400, "message"),
    ResourceNotFound: _Answer("ResourceNotFound", 400, "Message"),
    ResourceInUse: _Answer("ResourceInUse", 400, "Message"),
    Conflict: _Answer("ConflictException", 400, "Message"),
    ResourceLimitExceeded: _Answer("ResourceLimitExceeded", 400, "Message"),
    OperationNotSupported: _Answer("UnknownOperationException", 400, "message"),
    UnknownOperation: _Answer("UnknownOperationException", 400, "message"),
    RequestTooLong: _Answer("RequestEntityTooLargeException", 413, "message"),
    SerializationFailed: _Answer("SerializationException", 400, "message"),
    # AWS's common error for what passes: its SDKs try again.
    MachineExhausted: _Answer("ServiceUnavailable", 503, "message"),
}

_UNEXPECTED = _Answer("InternalFailure", 500, "message")


def control_error(error: Exception, request_id: str) -> Response:
    """The answer to a request that ended in `error`.

    An error that is not in the table is ours: the client sees none of its text, only the request
    id under which the log has it.
    """
    answer = _find(type(error))
    text = str(error)
    if answer is _UNEXPECTED:
        text = f"Gnomon failed on this request. Its log has more under request id {request_id}."
    return Response(
        status=answer.status,
        headers=(*control_headers(request_id), ("x-amzn-errortype", answer.code)),
        body=msgspec.json.encode({"__type": answer.code, answer.text_member: text}),
    )


def _find(error_type: type[Exception]) -> _Answer:
    for ancestor in error_type.__mro__:
        if ancestor in _ANSWERS:
            return _ANSWERS[ancestor]
    return _UNEXPECTED
