"""Object stores: a directory, or S3 and what speaks like it. The one module that imports obstore.

In a directory, objects are plain files (`<root>/<bucket>/<key>`), so that people can put model
archives there and read captures by hand. Whose credentials are used at an S3 store is left to
`credentials`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from gnomon.objects.store import (
    Credentials,
    CredentialsUnavailable,
    ObjectDenied,
    ObjectInfo,
    ObjectNotFound,
    ObjectStoreFailed,
)
from gnomon.objects.url import ObjectUrl, parse_object, parse_prefix

# Bytes that `fetch` holds at once.
_CHUNK_BYTES = 4 * 1024 * 1024
# An S3 error's own words.
_S3_ERROR = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")
# A store that does not accept or answer for so long is away. The whole may take longer: archives
# are gigabytes.
_PATIENCE = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "1day"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# One store is opened at a time, since that touches the environment.
_OPENING = threading.Lock()
# What passes within a second is not worth an error; for the rest, callers have their own patience.
_RETRIES: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}


class _Objects(ABC):
    """What both stores do alike.

    obstore's blocking calls are made in threads of ours: its own asynchronous ones call back into
    Python from a thread of theirs, which aborts the process if it happens to be ending.
    """

    @abstractmethod
    def _at(self, url: ObjectUrl, kms_key: str = "") -> tuple[Any, str]:
        """Where obstore has a URL: its store, and the path in that."""

    @abstractmethod
    def _url(self, below: ObjectUrl, path: str) -> ObjectUrl:
        """The URL of what a listing below a URL calls `path`."""

    async def put(self, url: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, url, data, "")

    def _put(self, url: str, data: bytes, kms_key: str) -> None:
        with _translated(url):
            store, path = self._at(parse_object(url), kms_key)
            obstore.put(store, path, data)

    async def get(self, url: str) -> bytes:
        return await asyncio.to_thread(self._get, url)

    def _get(self, url: str) -> bytes:
        with _translated(url):
            store, path = self._at(parse_object(url))
            return bytes(obstore.get(store, path).bytes())

    async def fetch(self, url: str, path: Path) -> None:
        await asyncio.to_thread(self._fetch, url, path)

    def _fetch(self, url: str, path: Path) -> None:
        with _translated(url):
            store, key = self._at(parse_object(url))
            result = obstore.get(store, key)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with partial.open("wb") as file:
                for chunk in _chunks(url, result):
                    file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    async def size_bytes(self, url: str) -> int:
        return await asyncio.to_thread(self._size_bytes, url)

    def _size_bytes(self, url: str) -> int:
        with _translated(url):
            store, path = self._at(parse_object(url))
            return obstore.head(store, path)["size"]

    async def exists(self, url: str) -> bool:
        try:
            await self.size_bytes(url)
        except ObjectNotFound:
            return False
        return True

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        below = parse_prefix(prefix)
        with _translated(prefix):
            store, path = await asyncio.to_thread(self._at, below)
            batches = iter(obstore.list(store, path or None))
            while batch := await asyncio.to_thread(next, batches, None):
                for item in batch:
                    url = self._url(below, item["path"])
                    yield ObjectInfo(str(url), item["size"], item["last_modified"])

    async def delete(self, url: str) -> None:
        await asyncio.to_thread(self._delete, url)

    def _delete(self, url: str) -> None:
        with contextlib.suppress(ObjectNotFound), _translated(url):
            store, path = self._at(parse_object(url))
            obstore.delete(store, path)


class DirectoryObjects(_Objects):
    """A `PlainStore` in a directory, which is made if it is not there."""

    def __init__(self, root: Path) -> None:
        self._store = LocalStore(root, mkdir=True)

    def _at(self, url: ObjectUrl, kms_key: str = "") -> tuple[Any, str]:
        assert not kms_key, "files have no encryption of their own"
        return self._store, f"{url.bucket}/{url.key}" if url.key else url.bucket

    def _url(self, below: ObjectUrl, path: str) -> ObjectUrl:
        return ObjectUrl(below.bucket, path.partition("/")[2])


class S3Objects(_Objects):
    """An `ObjectStore` on AWS or any store that speaks S3; KMS keys are the store's own (SSE-KMS).

    `endpoint` is empty for AWS's. `credentials` are asked for at each call.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: Callable[[], Credentials],
        *,
        path_style: bool,
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        self._path_style = path_style
        # By bucket and KMS key; with credentials that last, there is one for each for ever.
        self._stores: dict[tuple[str, str], tuple[Credentials, S3Store]] = {}

    async def put_encrypted(self, url: str, data: bytes, kms_key: str) -> None:
        await asyncio.to_thread(self._put, url, data, kms_key)

    def _at(self, url: ObjectUrl, kms_key: str = "") -> tuple[Any, str]:
        # Who is asked for them may take its time, and others' stores do not wait for it.
        credentials = self._credentials()
        # Calls come from several threads.
        with _OPENING:
            known = self._stores.get((url.bucket, kms_key))
            if known is None or known[0] != credentials:
                with _without_variables(self._endpoint):
                    known = credentials, self._open(url.bucket, kms_key, credentials)
                self._stores[url.bucket, kms_key] = known
        return known[1], url.key

    def _url(self, below: ObjectUrl, path: str) -> ObjectUrl:
        return ObjectUrl(below.bucket, path)

    def _open(self, bucket: str, kms_key: str, credentials: Credentials) -> S3Store:
        config: Any = {
            "region": self._region,
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key,
            "virtual_hosted_style_request": not self._path_style,
        }
        if credentials.token:
            config["session_token"] = credentials.token
        if self._endpoint:
            # In virtual-hosted style obstore takes the bucket for a part of the endpoint.
            scheme, _, host = self._endpoint.rstrip("/").partition("://")
            config["endpoint"] = (
                f"{scheme}://{host}" if self._path_style else f"{scheme}://{bucket}.{host}"
            )
        if kms_key:
            config["server_side_encryption"] = "aws:kms"
            config["sse_kms_key_id"] = kms_key
        options: Any = {**_PATIENCE, "allow_http": self._endpoint.startswith("http://")}
        return S3Store(bucket, config=config, client_options=options, retry_config=_RETRIES)


@contextlib.contextmanager
def _without_variables(endpoint: str) -> Iterator[None]:
    """While a store is opened: obstore would mix in what it finds in the environment, such as the
    session token of other credentials, or an endpoint; and it would ask a proxy for loopback.
    """
    host = urlsplit(endpoint).hostname or ""
    is_here = host == "localhost" or host.startswith("127.") or host == "::1"
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or (is_here and name.upper() in _PROXIES)
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _chunks(url: str, result: obstore.GetResult) -> Iterator[bytes]:
    with _translated(url):
        for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
            yield bytes(chunk)


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise ObjectStoreFailed(url, _said(error)) from error
        raise ObjectNotFound(url) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise ObjectDenied(url, f"access was denied ({_said(error)})") from error
    except (BaseError, OSError, CredentialsUnavailable) as error:
        raise ObjectStoreFailed(url, _said(error)) from error


def _said(error: Exception) -> str:
    """The store's own words; the further lines of obstore's errors are Rust's view of the same."""
    text = str(error)
    found = _S3_ERROR.search(text)
    if found is None:
        return text.partition("\n")[0]
    code, message = found.groups()
    return f"{code}: {message}" if message else str(code)
