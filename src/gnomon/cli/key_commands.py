"""The commands on Gnomon's own KMS keys: `gnomon keys create|list|disable|enable|alias`."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from gnomon.cli.options import DataDir, Format, FormatOption

Key = Annotated[str, typer.Argument(help="A key's id or ARN, or an alias (alias/name) or its ARN.")]


def add_keys(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    keys = typer.Typer(no_args_is_help=True)
    app.add_typer(keys, name="keys", help="Make and change Gnomon's own KMS keys.")

    @keys.command("create")
    def command_create(
        alias: Annotated[str | None, typer.Option(help="A name for it.")] = None,
        description: Annotated[str, typer.Option(help="What it is for.")] = "",
        data_dir: DataDir = None,
    ) -> None:
        """Make a key, and print its ARN."""
        from gnomon.cli.stores import open_keys_to_change

        service = open_keys_to_change(data_dir, os.environ)
        typer.echo(service.arn(service.create(time.time(), description, alias)))

    @keys.command("list")
    def command_list(format_: FormatOption = Format.TABLE, data_dir: DataDir = None) -> None:
        """List the keys with their aliases."""
        from gnomon.cli.screens import print_keys
        from gnomon.cli.stores import open_keys_to_change

        service = open_keys_to_change(data_dir, os.environ)
        found = [
            {
                "arn": service.arn(key),
                "aliases": aliases,
                "state": "Enabled" if key.enabled else "Disabled",
                "created": f"{datetime.fromtimestamp(key.created_at_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "description": key.description,
            }
            for key, aliases in service.all()
        ]
        if format_ is Format.JSON:
            typer.echo(json.dumps(found, indent=1))
        else:
            print_keys(found)

    @keys.command("disable")
    def command_disable(key: Key, data_dir: DataDir = None) -> None:
        """Let nothing be encrypted or decrypted under a key, until it is enabled again."""
        _enable(key, data_dir, enabled=False)

    @keys.command("enable")
    def command_enable(key: Key, data_dir: DataDir = None) -> None:
        """Let a disabled key be used again."""
        _enable(key, data_dir, enabled=True)

    @keys.command("alias")
    def command_alias(
        alias: Annotated[str, typer.Argument(help="The name, with or without alias/.")],
        key: Key,
        data_dir: DataDir = None,
    ) -> None:
        """Give a key a name, which another key may have had."""
        from gnomon.cli.stores import open_keys_to_change

        service = open_keys_to_change(data_dir, os.environ)
        typer.echo(service.arn(service.alias(alias, key)))


def _enable(key: str, data_dir: DataDir, *, enabled: bool) -> None:
    from gnomon.cli.stores import open_keys_to_change

    service = open_keys_to_change(data_dir, os.environ)
    typer.echo(service.arn(service.enable(key, enabled=enabled)))
