"""Envelope encryption around a store that has none: a data key for each object, under a KMS key.

A sealed object is 16 bytes that say so and the version, the length of the wrapped data key (4
bytes, big-endian), the wrapped data key, a nonce of 12 bytes, and the content under AES-256-GCM,
with all that stands before the nonce as associated data. The encryption context is the one that S3
uses, `aws:s3:arn`: an object opens only under the URL that it was written to.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gnomon.objects.keys import KeyService, KeyUnusable
from gnomon.objects.store import ObjectInfo, PlainStore
from gnomon.objects.url import parse_object

MAGIC = b"GNOMON-SEALED-1\n"
_LENGTH = struct.Struct(">I")
# As NIST SP 800-38D has it.
_NONCE_BYTES = 12


def seal(url: str, data: bytes, kms_key: str, keys: KeyService) -> bytes:
    """`data` as a sealed object for `url`. KeyUnusable, KeyServiceFailed."""
    data_key = keys.data_key(kms_key, _context(url))
    head = MAGIC + _LENGTH.pack(len(data_key.wrapped)) + data_key.wrapped
    nonce = os.urandom(_NONCE_BYTES)
    return head + nonce + AESGCM(data_key.plain).encrypt(nonce, data, head)


def unseal(url: str, data: bytes, keys: KeyService) -> bytes:
    """What was sealed for `url`; `data` as it is if it is not sealed."""
    if not data.startswith(MAGIC):
        return data
    wrapped_at = len(MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(data.ljust(wrapped_at, b"\0"), len(MAGIC))
    head, rest = data[: wrapped_at + length], data[wrapped_at + length :]
    plain = keys.unwrap(head[wrapped_at:], _context(url))
    try:
        return AESGCM(plain).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head)
    except (InvalidTag, ValueError) as error:
        raise KeyUnusable(f"of {url}", "the object was changed after it was sealed") from error


class SealedObjects:
    """An `ObjectStore` around one without keys; what was stored plainly is read as it is."""

    def __init__(self, inner: PlainStore, keys: KeyService) -> None:
        self._inner = inner
        self._keys = keys

    async def put(self, url: str, data: bytes) -> None:
        await self._inner.put(url, data)

    async def put_encrypted(self, url: str, data: bytes, kms_key: str) -> None:
        await self._inner.put(url, await asyncio.to_thread(seal, url, data, kms_key, self._keys))

    async def get(self, url: str) -> bytes:
        data = await self._inner.get(url)
        return await asyncio.to_thread(unseal, url, data, self._keys)

    async def fetch(self, url: str, path: Path) -> None:
        await self._inner.fetch(url, path)
        await asyncio.to_thread(self._open_file, url, path)

    async def size_bytes(self, url: str) -> int:
        return await self._inner.size_bytes(url)

    async def exists(self, url: str) -> bool:
        return await self._inner.exists(url)

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        return self._inner.list(prefix)

    async def delete(self, url: str) -> None:
        await self._inner.delete(url)

    def _open_file(self, url: str, path: Path) -> None:
        with path.open("rb") as file:
            is_sealed = file.read(len(MAGIC)) == MAGIC
        if is_sealed:
            # What is sealed are captures, which fit into memory. The sealed one does not stay.
            sealed = path.read_bytes()
            path.unlink()
            path.write_bytes(unseal(url, sealed, self._keys))


def _context(url: str) -> dict[str, str]:
    parsed = parse_object(url)
    return {"aws:s3:arn": f"arn:aws:s3:::{parsed.bucket}/{parsed.key}"}
