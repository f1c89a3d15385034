"""Gnomon's own key service: keys in one file that only its owner can read.

Whoever loses the file loses what was encrypted under its keys. A wrapped data key is a version
byte, the key's id (16 bytes), a nonce, and the data key under AES-256-GCM, with the id and the
encryption context as associated data.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gnomon.errors import GnomonError
from gnomon.model.arn import Account
from gnomon.objects.keys import DataKey, KeyServiceFailed, KeyUnusable

_VERSION = b"\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_BYTES = 16
# KMS's own rule; names that begin with aws/ are AWS's.
_ALIAS = re.compile(r"alias/(?!aws/)[a-zA-Z0-9/_-]{1,250}")


class KeyRefused(GnomonError):
    """A change of keys that cannot be made."""


class LocalKey(msgspec.Struct, frozen=True):
    """A key; `material` is secret."""

    id: str
    created_at_s: float
    material: bytes
    description: str = ""
    enabled: bool = True


class _File(msgspec.Struct, frozen=True):
    keys: dict[str, LocalKey] = {}
    # Alias, with its `alias/`, to a key's id.
    aliases: dict[str, str] = {}


class LocalKeys:
    """A `KeyService` on a file, which is read at each use: a disabled key is so at once."""

    def __init__(self, path: Path, account: Account) -> None:
        self._path = path
        self._account = account

    def data_key(self, key: str, context: Mapping[str, str]) -> DataKey:
        found = self.find(key)
        if not found.enabled:
            raise KeyUnusable(key, "it is disabled")
        plain = AESGCM.generate_key(_KEY_BYTES * 8)
        nonce = os.urandom(_NONCE_BYTES)
        id_bytes = uuid.UUID(found.id).bytes
        sealed = AESGCM(found.material).encrypt(nonce, plain, _bound(id_bytes, context))
        return DataKey(plain, _VERSION + id_bytes + nonce + sealed)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        if wrapped[:1] != _VERSION or len(wrapped) < 1 + _ID_BYTES + _NONCE_BYTES:
            raise KeyUnusable("of the data key", "it is not one of this key service's")
        id_bytes = wrapped[1 : 1 + _ID_BYTES]
        id_ = str(uuid.UUID(bytes=id_bytes))
        key = self.find(id_)
        if not key.enabled:
            raise KeyUnusable(id_, "it is disabled")
        nonce, sealed = wrapped[17 : 17 + _NONCE_BYTES], wrapped[17 + _NONCE_BYTES :]
        try:
            return AESGCM(key.material).decrypt(nonce, sealed, _bound(id_bytes, context))
        except InvalidTag as error:
            raise KeyUnusable(
                id_, "the data key was made for another object, or changed"
            ) from error

    def find(self, key: str) -> LocalKey:
        """The key that any of the four spellings names; KeyUnusable if there is none."""
        file = self._read()
        name = key
        if key.startswith("arn:"):
            beginning = f"arn:aws:kms:{self._account.region}:{self._account.account_id}:"
            if not key.startswith(beginning):
                said = f"keys here have ARNs that begin with {beginning}"
                raise KeyUnusable(key, f"it does not exist: {said}")
            name = key.removeprefix(beginning).removeprefix("key/")
        found = file.keys.get(file.aliases.get(name, name))
        if found is None:
            raise KeyUnusable(key, "it does not exist")
        return found

    def arn(self, key: LocalKey) -> str:
        return f"arn:aws:kms:{self._account.region}:{self._account.account_id}:key/{key.id}"

    def all(self) -> list[tuple[LocalKey, list[str]]]:
        """Every key with its aliases, oldest first."""
        file = self._read()
        return [
            (key, sorted(alias for alias, id_ in file.aliases.items() if id_ == key.id))
            for key in sorted(file.keys.values(), key=lambda key: key.created_at_s)
        ]

    def create(self, created_at_s: float, description: str, alias: str | None) -> LocalKey:
        """A new key, with the alias if one is given."""
        key = LocalKey(
            str(uuid.uuid4()), created_at_s, AESGCM.generate_key(_KEY_BYTES * 8), description
        )
        with self._changing() as file:
            file.keys[key.id] = key
            if alias is not None:
                _add_alias(file, alias, key.id)
        return key

    def enable(self, key: str, *, enabled: bool) -> LocalKey:
        """Lets the key be used, or not."""
        found = msgspec.structs.replace(self.find(key), enabled=enabled)
        with self._changing() as file:
            file.keys[found.id] = found
        return found

    def alias(self, alias: str, key: str) -> LocalKey:
        """Gives the key the alias; another key's that has it loses it."""
        found = self.find(key)
        with self._changing() as file:
            file.aliases.pop(_with_prefix(alias), None)
            _add_alias(file, alias, found.id)
        return found

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except (OSError, msgspec.MsgspecError) as error:
            raise KeyServiceFailed(f"{self._path} cannot be read ({error})") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_File]:
        """The file's content, to be changed; it is replaced as a whole."""
        try:
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyRefused(f"{self._path} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self._read()
            yield file
            partial = self._path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            # Nobody else's to read from its first moment on.
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as output:
                output.write(msgspec.json.format(msgspec.json.encode(file), indent=1))
                output.flush()
                os.fsync(output.fileno())
            partial.replace(self._path)
        except OSError as error:
            raise KeyRefused(f"{self._path} cannot be written: {error.strerror}.") from error
        finally:
            os.close(lock)


def _with_prefix(alias: str) -> str:
    return alias if alias.startswith("alias/") else f"alias/{alias}"


def _add_alias(file: _File, alias: str, key_id: str) -> None:
    name = _with_prefix(alias)
    if _ALIAS.fullmatch(name) is None:
        raise KeyRefused(
            f"{alias} is no name of an alias: it is letters, digits, /, _ and - (250 at most), and "
            "does not begin with aws/."
        )
    if name in file.aliases:
        raise KeyRefused(f"{name} is another key's: move it with `gnomon keys alias {name} <key>`.")
    file.aliases[name] = key_id


def _bound(id_bytes: bytes, context: Mapping[str, str]) -> bytes:
    return id_bytes + msgspec.json.encode(context, order="deterministic")
