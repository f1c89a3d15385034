"""By what a command knows that it is Gnomon that answers at a URL with TLS.

It reads the certificate where Gnomon reads it, from the disk of this machine, so that it needs no
authority, and no name: a certificate that Gnomon was given may be for another host than loopback.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from gnomon.cli.running import Running
from gnomon.errors import GnomonError

_END = "-----END CERTIFICATE-----"


class NothingToTrust(GnomonError):
    """Neither the certificate nor what it is verified by can be read."""

    def __init__(self, running: Running) -> None:
        self.running = running
        super().__init__(
            f"The certificate {running.certificate_file} cannot be read, so that it cannot be "
            f"known who answers at {running.url}: put a sound one there (`gnomon tls init --renew` "
            "does so for one of its own)."
        )


def trust(running: Running) -> ssl.SSLContext:
    """A client's context. Raises NothingToTrust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate itself is trusted, not only what issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # While one is being replaced, the other holds.
    trusted = [_add(context, running.ca_file), _add(context, running.certificate_file, first=True)]
    if not any(trusted):
        raise NothingToTrust(running)
    return context


def _add(context: ssl.SSLContext, file: str, *, first: bool = False) -> bool:
    try:
        pem = Path(file).read_text() if file else ""
        if first:
            # Behind it may stand what issued it, which issues others, too.
            pem = pem.partition(_END)[0] + _END
        context.load_verify_locations(cadata=pem)
    except (OSError, ValueError):
        # ssl.SSLError is an OSError.
        return False
    return True
