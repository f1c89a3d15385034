"""`gnomon tls init`: makes what TLS on a local machine needs, in the data directory."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon import settings_reading
from gnomon.cli import running as running_file
from gnomon.cli.options import DataDir
from gnomon.errors import DataDirectoryError, GnomonError
from gnomon.model.layout import Layout

if TYPE_CHECKING:
    from gnomon.cli.authority import Pair

_LOCAL = ("localhost", "127.0.0.1", "::1")


class AlreadyThere(GnomonError):
    """There is a certificate, and nobody said to replace it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(
            f"{file} is there already. `gnomon tls init --renew` replaces it; clients that know "
            "its authority go on to work."
        )


def add_tls(app: typer.Typer) -> None:
    """Adds `gnomon tls`."""
    group = typer.Typer(no_args_is_help=True, help="TLS for Gnomon's listeners.")
    app.add_typer(group, name="tls")

    @group.callback()
    def tls() -> None:
        """TLS for Gnomon's listeners."""

    @group.command("init")
    def command_init(
        renew: Annotated[
            bool, typer.Option("--renew", help="Replace the certificate that is there.")
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Make an authority for this machine, and a certificate by it for Gnomon's listeners."""
        chosen = running_file.chosen_data_dir(data_dir, os.environ).resolve()
        settings = settings_reading.load(chosen, os.environ)
        names = init(Layout(chosen), settings.server.host, datetime.now(UTC), renew=renew)
        typer.echo(_said(Layout(chosen), names))


def init(layout: Layout, host: str, now: datetime, *, renew: bool) -> list[str]:
    """Writes the files, and gives the names for which the certificate holds.

    A renewed certificate is one of the authority that is there, if that lives long enough. Raises
    AlreadyThere or DataDirectoryError.
    """
    from gnomon.cli.authority import can_issue, issue, new_authority

    directory = layout.tls
    if (directory / "server.pem").exists() and not renew:
        raise AlreadyThere(directory / "server.pem")
    authority = _authority_in(directory)
    names = [*dict.fromkeys((*_LOCAL, host))]
    try:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        if authority is None or not can_issue(authority, now):
            authority = new_authority(socket.gethostname(), now)
            _write(directory / "ca.pem", authority.certificate_pem)
            _write(directory / "ca-key.pem", authority.key_pem)
        server = issue(authority, names, now)
        _write(directory / "server.pem", server.certificate_pem)
        _write(directory / "server-key.pem", server.key_pem)
    except OSError as error:
        raise DataDirectoryError(
            f"{error.filename} cannot be made: {error.strerror}. Make the data directory this "
            "user's to write, or name another with --data-dir."
        ) from error
    return names


def _authority_in(directory: Path) -> Pair | None:
    """The authority that is there already, if it is whole."""
    from gnomon.cli.authority import read_authority

    try:
        return read_authority(
            (directory / "ca.pem").read_bytes(), (directory / "ca-key.pem").read_bytes()
        )
    except (OSError, ValueError):
        return None


def _write(path: Path, data: bytes) -> None:
    """Replaces the file as a whole; from its first byte on it is its owner's alone."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600, exist_ok=False)
    partial.write_bytes(data)
    partial.replace(path)


def _said(layout: Layout, names: list[str]) -> str:
    directory = layout.tls
    return f"""\
A certificate for {", ".join(names)}:
  {directory / "server.pem"}, its key {directory / "server-key.pem"}
by an authority of this machine, which clients are to know:
  {directory / "ca.pem"}, its key {directory / "ca-key.pem"}

Gnomon uses it with this in {layout.root / "gnomon.toml"}:

  [tls]
  certificate_file = "tls/server.pem"
  key_file = "tls/server-key.pem"
  ca_file = "tls/ca.pem"

The next `gnomon up` or `gnomon restart` then listens with TLS, and `gnomon env` says so to clients.
Where that is so already, the new certificate is taken within seconds, without a restart."""
