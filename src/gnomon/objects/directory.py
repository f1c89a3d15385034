"""The object store in a directory: `<root>/<bucket>/<key>`. The one module that imports obstore.

Objects are plain files, so that people can put model archives there and read captures by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from gnomon.objects.store import ObjectInfo, ObjectNotFound, ObjectStoreFailed
from gnomon.objects.url import ObjectUrl, parse_object, parse_prefix

# Bytes that `fetch` holds at once.
_CHUNK_BYTES = 4 * 1024 * 1024


class DirectoryObjects:
    """An `ObjectStore` in a directory, which is made if it is not there.

    obstore's blocking calls are made in threads of ours: its own asynchronous ones call back into
    Python from a thread of theirs, which aborts the process if it happens to be ending.
    """

    def __init__(self, root: Path) -> None:
        self._store = LocalStore(root, mkdir=True)

    async def put(self, url: str, data: bytes) -> None:
        key = _key(parse_object(url))
        with _translated(url):
            await asyncio.to_thread(obstore.put, self._store, key, data)

    async def get(self, url: str) -> bytes:
        key = _key(parse_object(url))
        with _translated(url):
            result = await asyncio.to_thread(obstore.get, self._store, key)
            return bytes(await asyncio.to_thread(result.bytes))

    async def fetch(self, url: str, path: Path) -> None:
        key = _key(parse_object(url))
        await asyncio.to_thread(self._fetch, url, key, path)

    def _fetch(self, url: str, key: str, path: Path) -> None:
        with _translated(url):
            result = obstore.get(self._store, key)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with partial.open("wb") as file:
                for chunk in _chunks(url, result):
                    file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    async def exists(self, url: str) -> bool:
        key = _key(parse_object(url))
        try:
            with _translated(url):
                await asyncio.to_thread(obstore.head, self._store, key)
        except ObjectNotFound:
            return False
        return True

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        parsed = parse_prefix(prefix)
        with _translated(prefix):
            batches = iter(obstore.list(self._store, _key(parsed)))
            while batch := await asyncio.to_thread(next, batches, None):
                for item in batch:
                    bucket, _, key = item["path"].partition("/")
                    yield ObjectInfo(
                        str(ObjectUrl(bucket, key)), item["size"], item["last_modified"]
                    )

    async def delete(self, url: str) -> None:
        key = _key(parse_object(url))
        with contextlib.suppress(ObjectNotFound), _translated(url):
            await asyncio.to_thread(obstore.delete, self._store, key)


def _key(url: ObjectUrl) -> str:
    return f"{url.bucket}/{url.key}" if url.key else url.bucket


def _chunks(url: str, result: obstore.GetResult) -> Iterator[bytes]:
    with _translated(url):
        for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
            yield bytes(chunk)


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound(url) from error
    except (BaseError, OSError) as error:
        # The further lines of obstore's errors are Rust's view of the same.
        raise ObjectStoreFailed(url, str(error).partition("\n")[0]) from error
