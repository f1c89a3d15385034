"""What the router writes to a client: heads of answers, as bytes. Pure.

Each ends with a whole header line: `client` adds what concerns the connection and the empty line.
"""

from __future__ import annotations

from http import HTTPStatus

from gnomon.aws import event_stream
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.router.call import Headers, UpstreamAnswer

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
# Hop by hop (RFC 9110, 7.6.1), or set anew for the connection they go out on.
_OF_THE_CONNECTION = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_ATTRIBUTES_BYTES = len(_ATTRIBUTES)
_BODILESS = frozenset({204, 304})


def invoked(
    answer: UpstreamAnswer, *, date: bytes, variant: bytes, instance: bytes, event_id: bytes
) -> bytes:
    """InvokeEndpoint's answer with what the model answered; the event id is the request id too."""
    lines = _attributes(answer)
    if answer.content_type is not None:
        lines = b"Content-Type: %b\r\n%b" % (answer.content_type, lines)
    return (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\n%bContent-Length: %d\r\n"
        b"x-Amzn-Invoked-Production-Variant: %b\r\nx-amzn-RequestId: %b\r\n"
        b"X-Gnomon-Instance: %b\r\nX-Gnomon-Event-Id: %b\r\n"
        % (date, lines, len(answer.body), variant, event_id, instance, event_id)
    )


def stream_begun(
    answer: UpstreamAnswer, *, date: bytes, variant: bytes, instance: bytes, event_id: bytes
) -> bytes:
    """InvokeEndpointWithResponseStream's answer to a model whose answer has begun."""
    lines = _attributes(answer)
    if answer.content_type is not None:
        lines = b"X-Amzn-SageMaker-Content-Type: %b\r\n%b" % (answer.content_type, lines)
    return (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: %b\r\n%b"
        b"x-Amzn-Invoked-Production-Variant: %b\r\nx-amzn-RequestId: %b\r\n"
        b"X-Gnomon-Instance: %b\r\nX-Gnomon-Event-Id: %b\r\n"
        % (date, event_stream.CONTENT_TYPE, lines, variant, event_id, instance, event_id)
    )


def failed(failure: RuntimeFailure, *, date: bytes, request_id: bytes, more: bytes = b"") -> bytes:
    """The head of an error; `more` is further header lines."""
    lines = b"".join(
        b"%b: %b\r\n" % header for header in failure.headers(request_id.decode("ascii"))
    )
    return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b" % (
        failure.status,
        _REASONS.get(failure.status, b"Error"),
        date,
        lines,
        more,
    )


def passed_on(answer: UpstreamAnswer, *, to_head_request: bool) -> bytes:
    """The head of an answer that goes through unchanged, but for what is of the connection."""
    named = connection_options(answer.headers)
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in answer.headers
        if name.lower() not in _OF_THE_CONNECTION and name.lower() not in named
    ]
    if to_head_request:
        lines += [
            b"%b: %b\r\n" % (name, value)
            for name, value in answer.headers
            if name.lower() == b"content-length"
        ]
    elif answer.status not in _BODILESS:
        lines.append(b"Content-Length: %d\r\n" % len(answer.body))
    status = answer.status
    return b"HTTP/1.1 %d %b\r\n%b" % (status, _REASONS.get(status, b""), b"".join(lines))


def request_to_pass_on(method: bytes, url: bytes, headers: Headers, body: bytes) -> bytes:
    """The head of a client's request as it goes on to another server."""
    named = connection_options(headers)
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name.lower() not in _OF_THE_CONNECTION
        and name.lower() not in named
        # Answered here already, when the body had yet to come.
        and name.lower() != b"expect"
    ]
    if body or method in {b"POST", b"PUT", b"PATCH"}:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, b"".join(lines))


def _attributes(answer: UpstreamAnswer) -> bytes:
    lines = b""
    for name, value in answer.headers:
        if len(name) == _ATTRIBUTES_BYTES and name.lower() == _ATTRIBUTES:
            lines += b"X-Amzn-SageMaker-Custom-Attributes: %b\r\n" % value
    return lines


def connection_options(headers: Headers) -> set[bytes]:
    """The lower-case names of headers that `Connection` says are meant for the next hop only."""
    return {
        option.strip()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.lower().split(b",")
    }
