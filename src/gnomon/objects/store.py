"""What Gnomon asks of an object store: model archives are read from it, captures written to it.

The stores are in `stores`; encryption where a store has none of its own is `sealed`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from gnomon.errors import GnomonError


class ObjectNotFound(GnomonError):
    """There is no object at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(f"There is no object at {url}.")


class ObjectStoreFailed(GnomonError):
    """The store could not do what was asked at `url`, for a reason that may pass."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"The object store failed at {url}: {reason}")


class ObjectDenied(ObjectStoreFailed):
    """The store knows who asks, or not, and does not let them."""


class CredentialsUnavailable(GnomonError):
    """There are no credentials for the moment: what lasted has ended, and could not be renewed."""


@dataclass(frozen=True)
class Credentials:
    """Who asks a store, for now; `token` is empty but for credentials that do not last."""

    access_key_id: str
    secret_access_key: str
    token: str = ""


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of an object; `size` is in bytes."""

    url: str
    size: int
    modified: datetime


class PlainStore(Protocol):
    """Objects by URL (s3://bucket/key). Every call raises ObjectUrlInvalid for a bad URL.

    A written object is seen whole or not at all, and a second one at the same URL replaces it.
    """

    async def put(self, url: str, data: bytes) -> None:
        """Write an object."""

    async def get(self, url: str) -> bytes:
        """An object's bytes; ObjectNotFound."""

    async def fetch(self, url: str, path: Path) -> None:
        """Write an object's bytes to the file `path`, which is there whole or not; ObjectNotFound.

        However large it is, no more than a few MiB of it are in memory.
        """

    async def size_bytes(self, url: str) -> int:
        """How large an object is; ObjectNotFound."""

    async def exists(self, url: str) -> bool:
        """Whether there is an object at `url`."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """The objects below a bucket or a folder of it (whole path segments), in no order."""

    async def delete(self, url: str) -> None:
        """Remove an object; it need not be there."""


class ObjectStore(PlainStore, Protocol):
    """A store that can keep objects under a KMS key, too."""

    async def put_encrypted(self, url: str, data: bytes, kms_key: str) -> None:
        """Write an object so that only who may use the key can read it; KeyUnusable."""
