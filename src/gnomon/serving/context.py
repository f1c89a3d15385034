"""The `context` that a handler may ask for: as much of AWS's inference toolkit's as handlers use.

The toolkit serves batches, so its methods name a request by its index; here that is always 0 and
is not looked at.
"""

from __future__ import annotations

# ruff: noqa: ARG002 - the signatures are the toolkit's
from typing import Dict, Mapping, Optional


class Context:
    """One request as handlers see it, and what they say of its answer."""

    def __init__(self, model_dir: str, headers: Optional[Mapping[str, str]] = None) -> None:
        self.system_properties = {"model_dir": model_dir}
        # Names in lower case.
        self.request_headers: Mapping[str, str] = headers or {}
        self.status = 200
        self.content_type: Optional[str] = None
        self.response_headers: Dict[str, str] = {}

    def get_request_id(self, index: int = 0) -> Optional[str]:
        return self.request_headers.get("x-amzn-sagemaker-inference-id")

    def get_request_header(self, index: int, name: str) -> Optional[str]:
        return self.request_headers.get(name.lower())

    def get_all_request_header(self, index: int = 0) -> Mapping[str, str]:
        return self.request_headers

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_type = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.response_headers[name] = value

    def set_response_status(self, code: int = 200, phrase: str = "", index: int = 0) -> None:
        self.status = code
