"""Seals frames one by one, for endpoints whose storage volume has a KMS key: segments are shared.

A sealed payload tells all that its reader needs but for the KMS key: the length of the wrapped data
key (2 bytes, little-endian), the wrapped data key, a salt of 16 bytes, a nonce of 12 bytes, and the
payload under AES-256-GCM, with the kind of the frame and all that stands before the nonce as
associated data. The key of a writer is derived from the data key and its salt (HKDF with SHA-256),
so that its nonces need only count. How a data key is unwrapped is handed in.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# What data keys of frames are made and unwrapped with: KMS's encryption context.
CONTEXT = {"gnomon:for": "spool"}

_LENGTH = struct.Struct("<H")
_SALT_BYTES = 16
# As NIST SP 800-38D has it.
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
_INFO = b"gnomon spool frame"
# Ciphers that an opener keeps: one for each writer of each endpoint with a key; and derived keys.
_MAX_KEPT = 1000


class NotSealed(Exception):
    """A payload that no `FrameSeal` made, or that was changed since."""


class FrameSeal:
    """Seals under one data key, in one thread at a time. Nonces count: no two seals share a salt,
    and so no key. A payload is `added_bytes` longer when it is sealed.
    """

    __slots__ = ("_cipher", "_count", "_head", "added_bytes")

    def __init__(self, wrapped: bytes, plain: bytes) -> None:
        salt = os.urandom(_SALT_BYTES)
        self._head = _LENGTH.pack(len(wrapped)) + wrapped + salt
        self._cipher = _cipher(plain, salt)
        self._count = 0
        self.added_bytes = len(self._head) + _NONCE_BYTES + _TAG_BYTES

    def close(self, kind: int, payload: bytes) -> bytes:
        self._count += 1
        nonce = self._count.to_bytes(_NONCE_BYTES, "little")
        return self._head + nonce + self._cipher.encrypt(nonce, payload, _bound(kind, self._head))


class FrameOpener:
    """Opens what any seal closed. `unwrap` gives a data key for a wrapped one; what it raises goes
    on to the caller. May be used by several threads.
    """

    def __init__(self, unwrap: Callable[[bytes], bytes]) -> None:
        self._unwrap = unwrap
        self._ciphers: dict[bytes, AESGCM] = {}
        self._derived: dict[tuple[bytes, bytes, bytes], bytes] = {}

    def derive(self, wrapped: bytes, salt: bytes, purpose: bytes) -> bytes:
        """A key for another purpose, which only who may unwrap the data key can derive."""
        of = (wrapped, salt, purpose)
        if of not in self._derived:
            plain = self._unwrap(wrapped)
            if len(self._derived) >= _MAX_KEPT:
                self._derived.clear()
            self._derived[of] = HKDF(SHA256(), _KEY_BYTES, salt, purpose).derive(plain)
        return self._derived[of]

    def open(self, kind: int, sealed: bytes) -> bytes:
        """The payload that was sealed; NotSealed."""
        if len(sealed) < _LENGTH.size:
            raise NotSealed("it is too short")
        (length,) = _LENGTH.unpack_from(sealed)
        nonce_at = _LENGTH.size + length + _SALT_BYTES
        head, nonce = sealed[:nonce_at], sealed[nonce_at : nonce_at + _NONCE_BYTES]
        if len(nonce) < _NONCE_BYTES:
            raise NotSealed("it is too short")
        cipher = self._ciphers.get(head)
        if cipher is None:
            plain = self._unwrap(head[_LENGTH.size : -_SALT_BYTES])
            cipher = _cipher(plain, head[-_SALT_BYTES:])
            if len(self._ciphers) >= _MAX_KEPT:
                self._ciphers.clear()
            self._ciphers[head] = cipher
        try:
            return cipher.decrypt(nonce, sealed[nonce_at + _NONCE_BYTES :], _bound(kind, head))
        except (InvalidTag, ValueError) as error:
            raise NotSealed("it was changed after it was sealed") from error


def wrapped_key(sealed: bytes) -> bytes:
    """The wrapped data key of what a seal closed."""
    (length,) = _LENGTH.unpack_from(sealed)
    return sealed[_LENGTH.size : _LENGTH.size + length]


def _cipher(plain: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, _INFO).derive(plain))


def _bound(kind: int, head: bytes) -> bytes:
    return bytes([kind]) + head
