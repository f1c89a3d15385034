"""Names of objects: `s3://bucket/key`, whatever the store behind them is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gnomon.errors import GnomonError

_SCHEME = "s3://"
# S3's rule for bucket names, less its finer points.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# S3's limit of a key, in bytes of UTF-8.
_MAX_KEY_BYTES = 1024


class ObjectUrlInvalid(GnomonError):
    """A URL that names no object; `reason` says what is wrong with it."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url!r} is not the URL of an object (s3://bucket/key): {reason}")


@dataclass(frozen=True)
class ObjectUrl:
    """Bucket and key; an empty key stands for the whole bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"


def parse_object(url: str) -> ObjectUrl:
    """The object that `url` names; ObjectUrlInvalid if it names none."""
    parsed = parse_prefix(url)
    if not parsed.key:
        raise ObjectUrlInvalid(url, "the key is empty.")
    if url.endswith("/"):
        raise ObjectUrlInvalid(url, "the key ends with a slash.")
    return parsed


def parse_prefix(url: str) -> ObjectUrl:
    """The bucket, or the folder in it, that `url` names; a slash at its end does not matter."""
    if not url.startswith(_SCHEME):
        raise ObjectUrlInvalid(url, f"it does not start with {_SCHEME}.")
    bucket, _, key = url.removeprefix(_SCHEME).partition("/")
    if not bucket:
        raise ObjectUrlInvalid(url, "the bucket is empty.")
    if _BUCKET.fullmatch(bucket) is None or ".." in bucket:
        raise ObjectUrlInvalid(
            url, "a bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens."
        )
    key = key.removesuffix("/")
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise ObjectUrlInvalid(url, f"the key is longer than {_MAX_KEY_BYTES} bytes.")
    for part in key.split("/") if key else ():
        if part in {"", ".", ".."}:
            raise ObjectUrlInvalid(url, f"the key has a part {part!r} between two slashes.")
        if not part.isprintable():
            raise ObjectUrlInvalid(url, "the key has a character that cannot be printed.")
    return ObjectUrl(bucket, key)


def join(prefix: str, key: str) -> str:
    """The URL of `key` below the URL `prefix`."""
    return f"{prefix.rstrip('/')}/{key}"
