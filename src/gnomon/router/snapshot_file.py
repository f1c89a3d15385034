"""The last routing snapshot on disk: what a router serves from when it starts and control is gone.

Format: eight bytes that name the file and its version, the SHA-256 of the rest, MessagePack. A
file that is not whole is as good as none: control sends everything anew.

Headers of instances and keys of frames are secrets. They lie apart, sealed. Where they cannot be
opened, instances with headers are left out until control names them again, since without them they
would refuse; endpoints without their key are served, and their records dropped until then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import structlog

from gnomon.model.snapshot import Endpoint, FrameKey, Instance, Update, Variant
from gnomon.router.seal import Seal

_MAGIC = b"GNSNAP\x00\x03"
_HASH_BYTES = 32

_Headers = tuple[tuple[str, str], ...]

log = structlog.get_logger(__name__)


class _Secrets(msgspec.Struct):
    """Headers by the ids of those instances that have some, keys by the ids of endpoints."""

    headers: dict[str, _Headers]
    frame_keys: dict[str, FrameKey]


class _Stored(msgspec.Struct):
    """`update` without its secrets, `sealed` those, as `_Secrets`."""

    update: Update
    secret_instances: frozenset[str]
    sealed: bytes


def save(path: Path, snapshot: Update, seal: Seal) -> None:
    """Put `snapshot`, an update from nothing, in the place of what is there. Blocks for the disk.

    Raises OSError; the former file is then as it was.
    """
    headers = {i.id: i.headers for e in snapshot.endpoints for i in _instances(e) if i.headers}
    frame_keys = {e.id: e.frame_key for e in snapshot.endpoints if e.frame_key is not None}
    bare = _with_instances(snapshot, lambda i: msgspec.structs.replace(i, headers=()))
    stored = _Stored(
        _with_frame_keys(bare, {}),
        frozenset(headers),
        seal.close(msgspec.msgpack.encode(_Secrets(headers, frame_keys)), _MAGIC),
    )
    payload = msgspec.msgpack.encode(stored)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    with draft.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path, seal: Seal) -> Update | None:
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
        return _opened(msgspec.msgpack.decode(payload, type=_Stored), seal)
    except msgspec.MsgspecError as error:
        log.warning("the routing snapshot is passed over", path=str(path), reason=str(error))
        return None


def _opened(stored: _Stored, seal: Seal) -> Update:
    opened = seal.open(stored.sealed, _MAGIC)
    secrets = _Secrets({}, {})
    if opened is not None:
        secrets = msgspec.msgpack.decode(opened, type=_Secrets)
    headers = secrets.headers
    unknown = stored.secret_instances - headers.keys()
    if unknown:
        log.info("instances wait for control to name their headers", instances=sorted(unknown))

    def whole(instance: Instance) -> Instance | None:
        if instance.id in unknown:
            return None
        return msgspec.structs.replace(instance, headers=headers.get(instance.id, ()))

    update = _with_frame_keys(_with_instances(stored.update, whole), secrets.frame_keys)
    lacks_keys = any(e.kms_key and e.frame_key is None for e in update.endpoints)
    # Having version 0 means that control tells all of it anew.
    return msgspec.structs.replace(update, version=0) if unknown or lacks_keys else update


def _with_frame_keys(update: Update, keys: Mapping[str, FrameKey]) -> Update:
    return msgspec.structs.replace(
        update,
        endpoints=tuple(
            msgspec.structs.replace(endpoint, frame_key=keys.get(endpoint.id))
            for endpoint in update.endpoints
        ),
    )


def _instances(endpoint: Endpoint) -> Iterator[Instance]:
    variants = [*endpoint.production, *([endpoint.shadow.variant] if endpoint.shadow else [])]
    for variant in variants:
        yield from variant.instances


def _with_instances(update: Update, change: Callable[[Instance], Instance | None]) -> Update:
    """The update with each instance changed, or left out where that gives None."""

    def variant(of: Variant) -> Variant:
        changed = (change(instance) for instance in of.instances)
        return msgspec.structs.replace(of, instances=tuple(i for i in changed if i is not None))

    def endpoint(of: Endpoint) -> Endpoint:
        shadow = of.shadow
        return msgspec.structs.replace(
            of,
            production=tuple(variant(production) for production in of.production),
            shadow=msgspec.structs.replace(shadow, variant=variant(shadow.variant))
            if shadow
            else None,
        )

    return msgspec.structs.replace(
        update, endpoints=tuple(endpoint(each) for each in update.endpoints)
    )
