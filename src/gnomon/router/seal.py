"""Seals what must not lie on the disk as it is: AES-256-GCM under a key that lives in memory only.

The supervisor makes the key at its start and hands it to each router through a pipe, so that a
router's successor can open what the router sealed, and nobody else can.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# As NIST SP 800-38D has it; random ones are safe for 2^32 uses of a key.
_NONCE_BYTES = 12


class Seal:
    """Seals and opens under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, data: bytes, context: bytes) -> bytes:
        """`data`, sealed; it opens only with the same key and context."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes) -> bytes | None:
        """What was sealed; None if it was with another key or context, or has been changed."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            return None
