"""The last routing snapshot on disk: what a router serves from when it starts and control is gone.

Format: eight bytes that name the file and its version, the SHA-256 of the rest, MessagePack. A
file that is not whole is as good as none: control sends everything anew.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import structlog

from gnomon.model.snapshot import Update

_MAGIC = b"GNSNAP\x00\x01"
_HASH_BYTES = 32

log = structlog.get_logger(__name__)


def save(path: Path, snapshot: Update) -> None:
    """Put `snapshot`, an update from nothing, in the place of what is there. Blocks for the disk.

    Raises OSError; the former file is then as it was.
    """
    payload = msgspec.msgpack.encode(snapshot)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    with draft.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> Update | None:
    """What was saved last; None if there is nothing, or nothing that can be used."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the routing snapshot cannot be read", path=str(path), reason=error.strerror)
        return None
    start = len(_MAGIC) + _HASH_BYTES
    digest, payload = data[len(_MAGIC) : start], data[start:]
    if not data.startswith(_MAGIC) or hashlib.sha256(payload).digest() != digest:
        log.warning("the routing snapshot is damaged and passed over", path=str(path))
        return None
    try:
        return msgspec.msgpack.decode(payload, type=Update)
    except msgspec.MsgspecError as error:
        log.warning("the routing snapshot is passed over", path=str(path), reason=str(error))
        return None
