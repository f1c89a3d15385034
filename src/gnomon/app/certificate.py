"""The certificate that the listeners show: loaded at the start, and anew whenever its files change.

Whoever renews a certificate replaces two files, one after the other, so a change is looked at only
once it has come to rest. One that cannot be used changes nothing: the former one is shown on.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from gnomon.app.tls import TlsConnection
from gnomon.errors import SettingsError
from gnomon.settings import Settings

# How often the files are looked at, in seconds.
_LOOK_S = 1.0

_LOG = structlog.get_logger(__name__)

_MISMATCH = "the key is another certificate's"
_NO_PEM = "one of them is not in PEM, or the key is encrypted"

# What tells one state of a file from the next: it may be replaced, or written anew.
_Stamp = tuple[tuple[int, int, int] | None, ...]


class CertificateUnusable(SettingsError):
    """A certificate and a key that no listener can show."""

    def __init__(self, certificate: Path, key: Path, reason: str) -> None:
        self.certificate = certificate
        self.key = key
        self.reason = reason
        super().__init__(
            f"The certificate {certificate} with the key {key} cannot be used: {reason}. "
            "`gnomon tls init` makes a pair; [tls] in the settings names another."
        )


@dataclass(frozen=True)
class CertificateFiles:
    """PEM, both; what the certificate was issued by may follow it in its file."""

    certificate: Path
    key: Path


def files(settings: Settings) -> CertificateFiles | None:
    """Those that the settings name; None is no TLS. Raises SettingsError for half a pair."""
    tls = settings.tls
    if bool(tls.certificate_file) != bool(tls.key_file):
        raise SettingsError(
            "TLS needs tls.certificate_file and tls.key_file, and only one of them is set: set "
            "both, or neither."
        )
    if not tls.certificate_file:
        return None
    root = settings.data_dir
    return CertificateFiles(root / tls.certificate_file, root / tls.key_file)


def load(pair: CertificateFiles) -> ssl.SSLContext:
    """A context for listeners. Raises CertificateUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password, OpenSSL would ask for an encrypted key's on the terminal.
        context.load_cert_chain(pair.certificate, pair.key, password="")
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        reason = _MISMATCH if mismatch else f"{_NO_PEM} ({error.reason or error})"
        raise CertificateUnusable(pair.certificate, pair.key, reason) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CertificateUnusable(pair.certificate, pair.key, reason) from error
    return context


class Certificate:
    """What new connections are shown now; `trouble` is why the files' last change is not that."""

    def __init__(self, pair: CertificateFiles, context: ssl.SSLContext, loaded: _Stamp) -> None:
        self.trouble = ""
        self._pair = pair
        self._context = context
        self._loaded = loaded
        self._seen = loaded

    @classmethod
    async def loaded(cls, pair: CertificateFiles) -> Self:
        """Waits until the files can be used: they could when Gnomon came up."""
        said = ""
        while True:
            stamp = _stamp(pair)
            try:
                return cls(pair, await asyncio.to_thread(load, pair), stamp)
            except CertificateUnusable as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.error("waiting for a certificate", reason=said)
            await asyncio.sleep(_LOOK_S)

    def cover(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        """The protocol behind TLS, for one new connection."""
        return TlsConnection(protocol, self._context)

    async def watch(self) -> None:
        """Looks after the files, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Takes the files' change if there was one and it has come to rest."""
        before, self._seen = self._seen, _stamp(self._pair)
        if self._seen == self._loaded or self._seen != before:
            return
        self._loaded = self._seen
        try:
            self._context = load(self._pair)
        except CertificateUnusable as error:
            self.trouble = f"{error} What was there before is used on."
            _LOG.warning("the former certificate is used on", reason=str(error))
        else:
            self.trouble = ""
            _LOG.info("another certificate is used", certificate=str(self._pair.certificate))


def _stamp(pair: CertificateFiles) -> _Stamp:
    return tuple(_stamp_of(path) for path in (pair.certificate, pair.key))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
