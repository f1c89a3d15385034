"""What is remembered of an answer that came piece by piece: a stream is never held whole. Pure."""

from __future__ import annotations

import hashlib


class Recording:
    """The beginning of a body that came in parts, its length, its hash, and when it came.

    `keep_bytes` of it are kept, or `hash_above_bytes` if that is more; the hash is there where it
    is longer than these. Times are monotonic seconds.
    """

    __slots__ = (
        "_hash",
        "_hash_above_bytes",
        "_keep_bytes",
        "_kept",
        "body_bytes",
        "first_at_s",
        "kept_bytes",
    )

    def __init__(self, keep_bytes: int, hash_above_bytes: int) -> None:
        self._keep_bytes = max(keep_bytes, hash_above_bytes)
        self._hash_above_bytes = hash_above_bytes
        self._hash: hashlib._Hash | None = None
        self._kept: list[bytes] = []
        self.kept_bytes = 0
        self.body_bytes = 0
        self.first_at_s: float | None = None

    def add(self, parts: list[bytes], at_s: float) -> None:
        if self.first_at_s is None:
            self.first_at_s = at_s
        for part in parts:
            self.body_bytes += len(part)
            if self._hash is not None:
                self._hash.update(part)
            elif self.body_bytes > self._hash_above_bytes:
                # Up to here all of it was kept.
                self._hash = hashlib.sha256(b"".join(self._kept))
                self._hash.update(part)
            kept = part[: self._keep_bytes - self.kept_bytes]
            if kept:
                self._kept.append(kept)
                self.kept_bytes += len(kept)

    @property
    def body(self) -> bytes:
        return b"".join(self._kept)

    @property
    def is_whole(self) -> bool:
        """Whether all of the body is kept."""
        return self.kept_bytes == self.body_bytes

    @property
    def sha256(self) -> bytes | None:
        return None if self._hash is None else self._hash.digest()
