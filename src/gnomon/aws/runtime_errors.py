"""The errors of InvokeEndpoint, ready to be written to a client's connection by the router.

Its counterpart for the control API is `gnomon.aws.errors`. Clients differ in where they look: the
code is in a header and in the body, the text under `Message` and `message`. Neither botocore nor
anything else that is slow to load is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

# A model's traceback fits; a model's whole page of HTML need not.
_MAX_MODEL_MESSAGE_CHARS = 4096
# Real names have 63 characters at most; what else stands in the path is not worth repeating.
_SHOWN_NAME_CHARS = 128

_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass(frozen=True, slots=True)
class RuntimeFailure:
    """An answer that is an error: HTTP status, SageMaker's code, and the body, mostly JSON."""

    status: int
    code: str
    body: bytes
    content_type: bytes = b"application/json"

    def headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """The headers of the answer, Content-Length included."""
        return [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-amzn-requestid", request_id.encode()),
            (b"x-amzn-errortype", self.code.encode()),
        ]


def endpoint_not_found(endpoint_name: str, account_id: str) -> RuntimeFailure:
    return validation_error(f"Endpoint {_cut(endpoint_name)} of account {account_id} not found.")


def variant_not_found(variant_name: str, endpoint_name: str, account_id: str) -> RuntimeFailure:
    """For a Target-Variant that is no production variant; AWS's words for it are not public."""
    return validation_error(
        f"Variant {_cut(variant_name)} of endpoint {_cut(endpoint_name)} of account {account_id} "
        "not found."
    )


def body_too_long(limit_bytes: int) -> RuntimeFailure:
    return validation_error(
        f"The request's body is longer than the {limit_bytes} bytes that are allowed.", status=413
    )


def validation_error(message: str, status: int = 400) -> RuntimeFailure:
    """A request that cannot be taken as it is."""
    return _failure(status, "ValidationError", message)


def model_error(
    status: int, answer_body: bytes, *, endpoint_name: str, region: str, account_id: str
) -> RuntimeFailure:
    """The model answered `status`, which is not 2xx, with `answer_body`."""
    # No character of UTF-8 takes more than 4 bytes.
    prefix = answer_body[: 4 * _MAX_MODEL_MESSAGE_CHARS]
    original = prefix.decode("utf-8", "replace")[:_MAX_MODEL_MESSAGE_CHARS]
    return _model_failure(status, original, endpoint_name, region, account_id)


def model_timed_out(*, endpoint_name: str, region: str, account_id: str) -> RuntimeFailure:
    """The model did not answer within its time; SageMaker says status 0 then."""
    return _model_failure(0, _TIMED_OUT, endpoint_name, region, account_id)


def model_not_ready(message: str) -> RuntimeFailure:
    return _failure(429, "ModelNotReadyException", message)


def internal_failure(request_id: str) -> RuntimeFailure:
    """A failure of Gnomon's own; the log has what happened under the request id."""
    return _failure(
        500,
        "InternalFailure",
        f"Gnomon failed on this request. Its log has more under request id {request_id}.",
    )


def service_unavailable(message: str) -> RuntimeFailure:
    return _failure(503, "ServiceUnavailable", message)


def service_unavailable_in_query(message: str) -> RuntimeFailure:
    """The same for a client that speaks AWS's query protocol, which is answered in XML."""
    body = (
        "<ErrorResponse><Error><Type>Receiver</Type><Code>ServiceUnavailable</Code>"
        f"<Message>{escape(message)}</Message></Error></ErrorResponse>"
    )
    return RuntimeFailure(503, "ServiceUnavailable", body.encode(), b"text/xml")


def internal_dependency(message: str) -> RuntimeFailure:
    """Something that Gnomon stands on failed it."""
    return _failure(530, "InternalDependencyException", message)


def log_group_arn(region: str, account_id: str, endpoint_name: str) -> str:
    """Where AWS would keep the model's log: the log group of the endpoint."""
    group = f"/aws/sagemaker/Endpoints/{endpoint_name}"
    return f"arn:aws:logs:{region}:{account_id}:log-group:{group}"


def _model_failure(
    status: int, original: str, endpoint_name: str, region: str, account_id: str
) -> RuntimeFailure:
    blame = "client" if 400 <= status < 500 else "server"
    log_arn = log_group_arn(region, account_id, endpoint_name)
    return _failure(
        424,
        "ModelError",
        f'Received {blame} error ({status}) from primary with message "{original}". '
        f"See {log_arn} in account {account_id} for more information.",
        ErrorCode=f"{blame.upper()}_ERROR_FROM_MODEL",
        OriginalStatusCode=status,
        OriginalMessage=original,
        LogStreamArn=log_arn,
    )


def _failure(status: int, code: str, message: str, **members: object) -> RuntimeFailure:
    body: dict[str, Any] = {"__type": code, "Message": message, "message": message, **members}
    return RuntimeFailure(status, code, msgspec.json.encode(body))


def _cut(name: str) -> str:
    # A name from a path may hold halves of characters, which JSON cannot.
    return name[:_SHOWN_NAME_CHARS].encode("utf-8", "replace").decode()
