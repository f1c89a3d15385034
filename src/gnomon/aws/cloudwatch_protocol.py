"""CloudWatch's wire: JSON 1.0, as boto3 and the AWS CLI send it, and the query form of other SDKs.

An answer goes out in the form that its request came in. The third protocol that CloudWatch knows,
Smithy RPC v2 CBOR, gets a clear error. What the operations do is `gnomon.control.cloudwatch`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from gnomon.aws import json_protocol, query_protocol
from gnomon.aws.errors import SerializationFailed, UnknownOperation
from gnomon.aws.response import Response
from gnomon.errors import GnomonError, MachineExhausted, OperationNotSupported, ValidationFailed

TARGET_PREFIX = "GraniteServiceVersion20100801."
VERSION = "2010-08-01"
_JSON = "application/x-amz-json-1.0"
_XML = "text/xml"
_SHAPES = "com.amazonaws.cloudwatch.v2010_08_01#"


class Form(Enum):
    """How a request is written down, and its answer with it."""

    JSON = _JSON
    QUERY = query_protocol.CONTENT_TYPE


class InvalidParameterValue(GnomonError):
    """A value that CloudWatch does not take there."""


class InvalidParameterCombination(GnomonError):
    """Parameters that contradict each other."""


class MissingParameter(GnomonError):
    """A parameter that cannot be left out here."""


class InvalidNextToken(GnomonError):
    """A token that this operation did not give."""


@dataclass(frozen=True)
class _Answer:
    """`code` as the query form has it; `shape` the error's name in JSON."""

    code: str
    shape: str
    status: int = 400


_ANSWERS: dict[type[GnomonError], _Answer] = {
    InvalidParameterValue: _Answer("InvalidParameterValue", "InvalidParameterValueException"),
    InvalidParameterCombination: _Answer(
        "InvalidParameterCombination", "InvalidParameterCombinationException"
    ),
    MissingParameter: _Answer("MissingParameter", "MissingRequiredParameterException"),
    InvalidNextToken: _Answer("InvalidNextToken", "InvalidNextToken"),
    ValidationFailed: _Answer("ValidationError", "ValidationError"),
    UnknownOperation: _Answer("InvalidAction", "InvalidAction"),
    OperationNotSupported: _Answer("InvalidAction", "InvalidAction"),
    SerializationFailed: _Answer("MalformedInput", "SerializationException"),
    MachineExhausted: _Answer("ServiceUnavailable", "ServiceUnavailable", 503),
}
_INTERNAL = _Answer("InternalServiceError", "InternalServiceFault", 500)


@dataclass(frozen=True)
class Service:
    """CloudWatch's model, narrowed to the operations that are supported."""

    model: ServiceModel
    supported: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """That of its XML."""
        return str(self.model.metadata["xmlNamespace"])

    def operation(self, name: str) -> OperationModel:
        """The model of a supported operation; UnknownOperation or OperationNotSupported."""
        if name in self.supported:
            return self.model.operation_model(name)
        if name in self.model.operation_names:
            raise OperationNotSupported(name, self.supported)
        raise UnknownOperation(f"CloudWatch has no operation {name[:100]!r}.")


def load_service(supported: tuple[str, ...]) -> Service:
    """CloudWatch's model from the installed botocore."""
    model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"), "cloudwatch")
    return Service(model, supported)


def is_cloudwatch(headers: Mapping[str, str]) -> bool:
    """Whether a request to `/` is for CloudWatch: it names it, or is a form, which SageMaker never
    takes. `headers` by lower-case names.
    """
    if "smithy-protocol" in headers:
        return True
    return headers.get("x-amz-target", "").startswith(TARGET_PREFIX) or (
        form_of(headers) is Form.QUERY
    )


def form_of(headers: Mapping[str, str]) -> Form:
    """The form of a request, and so of its answer."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return Form.QUERY if content_type == query_protocol.CONTENT_TYPE else Form.JSON


def parse(
    service: Service, headers: Mapping[str, str], body: bytes
) -> tuple[OperationModel, dict[str, Any]]:
    """The operation, and its parameters as `json_protocol.typed` leaves them.

    Raises UnknownOperation, OperationNotSupported or SerializationFailed.
    """
    if len(body) > json_protocol.MAX_BODY_BYTES:
        raise SerializationFailed(
            f"The request's body is longer than {json_protocol.MAX_BODY_BYTES} bytes."
        )
    if form_of(headers) is Form.QUERY:
        fields = query_protocol.read_form(body)
        operation = service.operation(fields.get("Action", ""))
        document = query_protocol.document(operation.input_shape, fields)
    else:
        target = headers.get("x-amz-target", "")
        if not target.startswith(TARGET_PREFIX):
            raise UnknownOperation(
                "Gnomon reads requests to CloudWatch in JSON 1.0 (X-Amz-Target: "
                f"{TARGET_PREFIX}<Operation>) and in the query form, not in Smithy RPC."
            )
        operation = service.operation(target.removeprefix(TARGET_PREFIX))
        document = json_protocol.decode_object(body)
    return operation, json_protocol.typed(operation.input_shape, document)


def answer(
    service: Service, operation: OperationModel, form: Form, result: Mapping[str, Any], id_: str
) -> Response:
    """The answer to a request that went well; `id_` is the request's."""
    if form is Form.QUERY:
        body = query_protocol.answer_xml(operation, service.namespace, result, id_)
        return Response(200, _headers(_XML, id_), body)
    return Response(200, _headers(_JSON, id_), json_protocol.serialize(operation, result))


def error(service: Service, form: Form, error: Exception, id_: str) -> Response:
    """The answer to a request that ended in `error`; the client sees no text of our own faults."""
    known = next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), _INTERNAL)
    text = str(error)
    if known is _INTERNAL:
        text = f"Gnomon failed on this request. Its log has more under request id {id_}."
    is_callers = known.status < 500
    if form is Form.QUERY:
        body = query_protocol.error_xml(
            service.namespace, known.code, text, id_, is_callers=is_callers
        )
        return Response(known.status, _headers(_XML, id_), body)
    fault = "Sender" if is_callers else "Receiver"
    return Response(
        known.status,
        (*_headers(_JSON, id_), ("x-amzn-query-error", f"{known.code};{fault}")),
        msgspec.json.encode({"__type": _SHAPES + known.shape, "message": text}),
    )


def _headers(content_type: str, id_: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", content_type), ("x-amzn-RequestId", id_))
