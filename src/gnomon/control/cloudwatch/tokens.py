"""Opaque tokens of CloudWatch's paged operations."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from gnomon.aws.cloudwatch_protocol import InvalidNextToken


def token(position: object) -> str:
    """A token that says where the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode()


def read_token(given: str, of: Any) -> Any:
    """What `token` was made of, of the type `of`; InvalidNextToken if it is no such token."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(given.encode()), type=of)
    except ValueError as error:
        # Of base64, of UTF-8, of JSON and of its types: all are ValueErrors.
        raise InvalidNextToken("The NextToken is not one that this operation returned.") from error
