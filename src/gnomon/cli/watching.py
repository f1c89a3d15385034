"""The commands with which one sees what goes on, and what is wrong: logs, events, doctor."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Annotated

import typer

from gnomon.cli import running as running_file
from gnomon.cli.options import DataDir, Format, FormatOption


def add_watching(app: typer.Typer) -> None:
    """Adds the commands to the command line."""

    @app.command("logs")
    def command_logs(
        endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
        variant: Annotated[str | None, typer.Argument(help="Name of one variant.")] = None,
        follow: Annotated[
            bool, typer.Option("--follow", "-f", help="Go on, with new instances, until Ctrl-C.")
        ] = False,
        lines: Annotated[
            int, typer.Option("--lines", "-n", min=0, help="Last lines of each instance.")
        ] = 100,
        data_dir: DataDir = None,
    ) -> None:
        """Show what an endpoint's instances printed, those that ended lately included."""
        from gnomon.cli.logs import print_logs

        running = running_file.find(data_dir, os.environ)
        with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
            print_logs(running, endpoint, variant, lines, follows=follow)

    @app.command("events")
    def command_events(
        name: Annotated[
            str | None, typer.Argument(help="Of this endpoint, experiment, or instance (its id).")
        ] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
        format_: FormatOption = Format.TABLE,
        data_dir: DataDir = None,
    ) -> None:
        """Show what changed its status, when and why; the newest is last."""
        from gnomon.cli.events import event_lines, read_events

        events = read_events(running_file.find(data_dir, os.environ), name, limit)
        if format_ is Format.JSON:
            typer.echo(json.dumps(events, indent=1))
        else:
            for line in event_lines(events):
                typer.echo(line)

    @app.command("doctor")
    def command_doctor(data_dir: DataDir = None) -> None:
        """Check the machine, the data directory, versions and limits, and say what to mend."""
        from gnomon.cli.checks import Level, findings
        from gnomon.cli.facts import gather

        found = findings(gather(data_dir, os.environ))
        for finding in found:
            typer.echo(finding.line)
        if any(finding.level is Level.FAIL for finding in found):
            raise typer.Exit(1)
