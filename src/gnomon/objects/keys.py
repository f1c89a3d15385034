"""KMS keys, as Gnomon asks for them: data keys under a key that a user named, and back.

A key is named as everywhere on AWS: by its id, its ARN, an alias (`alias/name`) or the alias's ARN.
The services are `local_keys` and `aws_keys`; what data keys are used for is `sealed`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gnomon.errors import GnomonError


class KeyUnusable(GnomonError):
    """A KMS key that is not there, is disabled or may not be used."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"The KMS key {key} cannot be used: {reason}.")


class KeyServiceFailed(GnomonError):
    """The key service does not answer, or not in a way that says anything of the key."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The key service cannot be used now: {reason}.")


@dataclass(frozen=True)
class DataKey:
    """A key of AES-256 for one object: `plain` is not kept, `wrapped` lies beside the object."""

    plain: bytes
    wrapped: bytes


class KeyService(Protocol):
    """Calls block, some for a network. `context` is KMS's encryption context: a data key opens
    only with what it was made with. Each raises KeyUnusable or KeyServiceFailed.
    """

    def data_key(self, key: str, context: Mapping[str, str]) -> DataKey:
        """A new data key under the KMS key."""

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """A data key's plain bytes."""
