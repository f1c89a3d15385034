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

# As `GET /gnomon/v1/experiments/<name>/report` answers it.
Report = dict[str, Any]
Experiment = Annotated[str, typer.Argument(help="Name of the inference experiment.")]


def add_capturing(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    capture = typer.Typer(no_args_is_help=True)
    app.add_typer(capture, name="capture", help="Show what an experiment captured.")

    @capture.command("ls")
    def command_ls(experiment: Experiment, data_dir: DataDir = None) -> None:
        """List the objects that hold an experiment's records: size in bytes, time, URL."""

        async def show(_objects: ObjectStore, found: list[Captured], _report: Report) -> None:
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

        async def show(objects: ObjectStore, found: list[Captured], _report: Report) -> None:
            from gnomon.cli.captured import records

            wanted = [item for item in found if variant in (None, item.variant)]
            async for line in records(objects, wanted):
                typer.echo(line)

        _run(experiment, data_dir, show)

    @capture.command("pairs")
    def command_pairs(
        experiment: Experiment,
        most_different: Annotated[
            bool, typer.Option(help="Only those whose answers the report remembers as farthest.")
        ] = False,
        most_slowed: Annotated[
            bool, typer.Option(help="Only those whose shadow was the slowest beside production.")
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Print requests with both answers, joined on the event id, as JSON Lines."""
        kinds = [
            name
            for name, is_wanted in (
                ("most_different", most_different),
                ("most_slowed", most_slowed),
            )
            if is_wanted
        ]

        async def show(objects: ObjectStore, found: list[Captured], report: Report) -> None:
            import msgspec

            from gnomon.cli.captured import pairs, standing_out

            production = report["production"]["variant"]
            if not kinds:
                async for pair in pairs(objects, found, production):
                    typer.echo(msgspec.json.encode(pair).decode())
                return
            scores = {
                pair["event_id"]: pair["score"]
                for kind in kinds
                for pair in report["analysis"][kind]
            }
            shown = await standing_out(objects, found, production, scores)
            for pair in shown:
                typer.echo(msgspec.json.encode(pair).decode())
            if len(shown) < len(scores):
                missing = len(scores) - len(shown)
                typer.echo(
                    f"{missing} of {len(scores)} such pairs are not among the captured records.",
                    err=True,
                )

        _run(experiment, data_dir, show)


def _run(
    experiment: str,
    data_dir: DataDir,
    show: Callable[[ObjectStore, list[Captured], Report], Coroutine[Any, Any, None]],
) -> None:
    from urllib.parse import quote

    from gnomon.cli.captured import captured_objects, place_of
    from gnomon.cli.client import get
    from gnomon.cli.stores import open_store

    running = running_file.find(data_dir, os.environ)
    report = get(running, f"/experiments/{quote(experiment, safe='')}/report")
    place = place_of(report)
    objects = open_store(data_dir, os.environ)

    async def all_of_it() -> None:
        variants = (report["production"]["variant"], report["shadow"]["variant"])
        await show(objects, await captured_objects(objects, place, variants), report)

    try:
        asyncio.run(all_of_it())
    except BrokenPipeError:
        # Whoever read it has seen enough. typer would make an error of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
