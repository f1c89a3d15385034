"""A client's request as it was parsed, and what of its head the router acts upon. Pure.

`client` parses and fills it; `plane` sends it to models, `front` everything else.
"""

from __future__ import annotations

from typing import Literal

from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.router.call import Headers

# What InvokeEndpoint knows reaches the model, under these names, and nothing else does.
_MODEL_HEADERS = (
    b"Content-Type",
    b"Accept",
    b"X-Amzn-SageMaker-Custom-Attributes",
    b"X-Amzn-SageMaker-Target-Model",
    b"X-Amzn-SageMaker-Target-Variant",
    b"X-Amzn-SageMaker-Target-Container-Hostname",
    b"X-Amzn-SageMaker-Inference-Id",
    b"X-Amzn-SageMaker-Enable-Explanations",
    b"X-Amzn-SageMaker-Inference-Component",
    b"X-Amzn-SageMaker-Session-Id",
)
_Note = Literal[
    "content_type",
    "inference_id",
    "target_variant",
    "stream_accept",
    "mirror",
    "length",
    "coding",
    "expect",
    "upgrade",
    "connection",
]
_NOTES: dict[bytes, _Note] = {
    b"content-type": "content_type",
    b"x-amzn-sagemaker-inference-id": "inference_id",
    b"x-amzn-sagemaker-target-variant": "target_variant",
    b"x-amzn-sagemaker-accept": "stream_accept",
    b"x-gnomon-mirror": "mirror",
    b"content-length": "length",
    b"transfer-encoding": "coding",
    b"expect": "expect",
    b"upgrade": "upgrade",
    b"connection": "connection",
}
# Lower-case name to (the line's beginning, what to note); one look-up a header.
_KNOWN: dict[bytes, tuple[bytes | None, _Note | None]] = {
    **{name: (None, note) for name, note in _NOTES.items()},
    **{name.lower(): (name + b": ", _NOTES.get(name.lower())) for name in _MODEL_HEADERS},
}

_ACCEPT_LINE = b"Accept: "


class Request:
    """`headers` are as they came. `model_lines` are the header lines that a model may see.

    `body` is there once the request is whole; `content_length` is -1 where none was announced.
    `is_streamed`: the answer is wanted as it comes. `opts_out`: no copy of it may be made.
    `refusal`: what it is answered with, where that is known from its head or its length.
    `repeated`: a header that can have one meaning only is there more than once.
    """

    __slots__ = (
        "body",
        "coding",
        "connection",
        "content_length",
        "content_type",
        "expects_continue",
        "headers",
        "inference_id",
        "is_of_1_0",
        "is_streamed",
        "keeps_alive",
        "method",
        "model_lines",
        "opts_out",
        "refusal",
        "repeated",
        "stream_accept",
        "target_variant",
        "upgrades",
        "url",
    )

    def __init__(self, method: bytes, url: bytes, headers: Headers, *, keeps_alive: bool) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.keeps_alive = keeps_alive
        # Of HTTP/1.0, which knows no chunks.
        self.is_of_1_0 = False
        self.body = b""
        self.content_length = -1
        self.coding: bytes | None = None
        self.refusal: RuntimeFailure | None = None
        self.repeated: str | None = None
        self.content_type: bytes | None = None
        self.inference_id: bytes | None = None
        self.target_variant: bytes | None = None
        self.connection: bytes | None = None
        self.expects_continue = False
        self.upgrades = False
        self.is_streamed = False
        self.opts_out = False
        self.stream_accept: bytes | None = None
        self.model_lines: list[bytes] = []
        for name, value in headers:
            known = _KNOWN.get(name.lower())
            if known is not None:
                beginning, note = known
                if beginning is not None:
                    self.model_lines.append(b"%b%b\r\n" % (beginning, value))
                if note is not None:
                    self._note(note, value)

    def _note(self, note: _Note, value: bytes) -> None:
        if note == "content_type":
            if self.content_type is not None:
                self.repeated = "Content-Type"
            self.content_type = value
        elif note == "length":
            # The parser has refused what is not digits.
            self.content_length = int(value)
        elif note == "inference_id":
            if self.inference_id is not None:
                self.repeated = "X-Amzn-SageMaker-Inference-Id"
            self.inference_id = value
        elif note == "target_variant":
            if self.target_variant is not None:
                self.repeated = "X-Amzn-SageMaker-Target-Variant"
            self.target_variant = value
        elif note == "stream_accept":
            self.stream_accept = value
        elif note == "coding":
            self.coding = value.strip().lower()
        elif note == "mirror":
            self.opts_out = value.strip().lower() == b"off"
        elif note == "connection":
            self.connection = value.lower()
        elif note == "expect":
            self.expects_continue = value.lower() == b"100-continue"
        else:
            self.upgrades = True

    def stream(self) -> None:
        """The answer is wanted as it comes; this operation has a name of its own for Accept."""
        self.is_streamed = True
        if self.stream_accept is not None:
            self.model_lines = [
                line for line in self.model_lines if not line.startswith(_ACCEPT_LINE)
            ]
            self.model_lines.append(b"%b%b\r\n" % (_ACCEPT_LINE, self.stream_accept))

    def head_bytes(self) -> int:
        """About the length of the head, as it came."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
