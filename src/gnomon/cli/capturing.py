"""The commands on captured records: `gnomon capture ls|cat|pairs EXPERIMENT`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli import running as running_file
from gnomon.cli.options import DataDir

if TYPE_CHECKING:
    from gnomon.cli.captured import Captured
    from gnomon.objects.store import ObjectStore

Experiment = Annotated[str, typer.Argument(help="Name of the inference experiment.")]


def add_capturing(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    capture = typer.Typer(no_args_is_help=True)
    app.add_typer(capture, name="capture", help="Show what an experiment captured.")

    @capture.command("ls")
    def command_ls(experiment: Experiment, data_dir: DataDir = None) -> None:
        """List the objects that hold an experiment's records: size in bytes, time, URL."""

        async def show(_objects: ObjectStore, found: list[Captured], _production: str) -> None:
            for item in found:
                info = item.info
                typer.echo(f"{info.size:>12}  {info.modified:%Y-%m-%dT%H:%M:%SZ}  {info.url}")

        _run(experiment, data_dir, show)

    @capture.command("cat")
    def command_cat(
        experiment: Experiment,
        variant: Annotated[
            str | None, typer.Option(help="Of this variant only, production's or the shadow's.")
        ] = None,
        data_dir: DataDir = None,
    ) -> None:
        """Print every record, a line each, decrypted if need be."""

        async def show(objects: ObjectStore, found: list[Captured], _production: str) -> None:
            from gnomon.cli.captured import records

            wanted = [item for item in found if variant in (None, item.variant)]
            async for line in records(objects, wanted):
                typer.echo(line)

        _run(experiment, data_dir, show)

    @capture.command("pairs")
    def command_pairs(experiment: Experiment, data_dir: DataDir = None) -> None:
        """Print every request with both answers, joined on the event id, as JSON Lines."""

        async def show(objects: ObjectStore, found: list[Captured], production: str) -> None:
            import msgspec

            from gnomon.cli.captured import pairs

            async for pair in pairs(objects, found, production):
                typer.echo(msgspec.json.encode(pair).decode())

        _run(experiment, data_dir, show)


def _run(
    experiment: str,
    data_dir: DataDir,
    show: Callable[[ObjectStore, list[Captured], str], Coroutine[Any, Any, None]],
) -> None:
    from urllib.parse import quote

    from gnomon.cli.captured import captured_objects, place_of
    from gnomon.cli.client import get
    from gnomon.cli.stores import open_store

    running = running_file.find(data_dir, os.environ)
    report = get(running, f"/experiments/{quote(experiment, safe='')}/report")
    place = place_of(report)
    production = report["production"]["variant"]
    objects = open_store(data_dir, os.environ)

    async def all_of_it() -> None:
        variants = (production, report["shadow"]["variant"])
        await show(objects, await captured_objects(objects, place, variants), production)

    try:
        asyncio.run(all_of_it())
    except BrokenPipeError:
        # Whoever read it has seen enough. typer would make an error of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
