"""Certificates as `gnomon tls init` makes them, with what a client and a listener need of them."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gnomon.app.certificate import CertificateFiles, load
from gnomon.app.tls import TlsConnection
from gnomon.cli.tls import init
from gnomon.model.layout import Layout


@dataclass(frozen=True)
class LocalTls:
    """An authority and a certificate in `directory`."""

    directory: Path

    @property
    def pair(self) -> CertificateFiles:
        return CertificateFiles(self.directory / "server.pem", self.directory / "server-key.pem")

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def renew(self) -> None:
        """Another certificate by the same authority."""
        init(Layout(self.directory.parent), "localhost", datetime.now(UTC), renew=True)

    def client(self) -> ssl.SSLContext:
        """A client's context, which trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=self.ca_file)

    def cover(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        return TlsConnection(protocol, load(self.pair))


def local_tls(root: Path) -> LocalTls:
    """Made below `root`, as in a data directory."""
    init(Layout(root), "localhost", datetime.now(UTC), renew=False)
    return LocalTls(Layout(root).tls)
