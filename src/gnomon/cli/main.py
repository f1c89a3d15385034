"""The `gnomon` command: parses, calls the public API, prints.

`up` comes from the application, which this layer does not know: it is handed in. Whatever is slow
to import is imported by the command that needs it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from gnomon import settings_reading
from gnomon.cli import running as running_file
from gnomon.cli.analysis import add_analysis
from gnomon.cli.capturing import add_capturing
from gnomon.cli.environment import aws_environment, process_environment, shell_exports
from gnomon.cli.key_commands import add_keys
from gnomon.cli.options import DataDir, Format, FormatOption, ReportFormat
from gnomon.cli.tls import add_tls
from gnomon.cli.watching import add_watching
from gnomon.errors import GnomonError, exhaustion
from gnomon.settings import LogLevel, Settings

Up = Callable[[Settings, Callable[[running_file.Running], None]], None]


def build(up: Up) -> typer.Typer:
    """The command line; `up` runs Gnomon until it is told to end."""
    app = typer.Typer(
        help="Shadow tests for machine-learning inference endpoints, through SageMaker's API.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def options(
        debug: Annotated[bool, typer.Option(help="Show the whole of an error.")] = False,
    ) -> None:
        os.environ["GNOMON_DEBUG"] = "1" if debug else os.environ.get("GNOMON_DEBUG", "")

    @app.command("up")
    def command_up(
        data_dir: DataDir = None,
        host: Annotated[str | None, typer.Option(help="Loopback address to listen on.")] = None,
        port: Annotated[int | None, typer.Option(help="Port for everything; 0: any.")] = None,
        control_port: Annotated[
            int | None, typer.Option(help="Port of control's own listener; 0: any.")
        ] = None,
        s3: Annotated[
            bool, typer.Option("--s3", help="Run an S3 server beside, and keep objects in it.")
        ] = False,
        s3_port: Annotated[
            int | None, typer.Option("--s3-port", help="Port of the S3 server; 0: any.")
        ] = None,
        log_level: Annotated[LogLevel | None, typer.Option(help="How much to log.")] = None,
    ) -> None:
        """Start Gnomon here, in the foreground, until Ctrl-C or `gnomon down`."""
        given: dict[str, object] = {
            "host": host,
            "port": port,
            "control_port": control_port,
            "log_level": log_level,
        }
        chosen = running_file.chosen_data_dir(data_dir, os.environ)
        overrides = {key: value for key, value in given.items() if value is not None}
        objects: dict[str, object] = {"store": "seaweedfs"} if s3 else {}
        if s3_port is not None:
            objects["port"] = s3_port
        settings = settings_reading.load(
            chosen, os.environ, {"server": overrides, "objects": objects}
        )

        def ready(running: running_file.Running) -> None:
            from gnomon.cli.screens import print_up

            print_up(running)

        up(settings, ready)

    @app.command("down")
    def command_down(data_dir: DataDir = None) -> None:
        """End the Gnomon that runs, in order: nothing that it accepted is lost."""
        from gnomon.cli.ending import end, end_what_is_left

        try:
            running = running_file.find(data_dir, os.environ)
        except running_file.NotRunning as error:
            # Its supervisor may have been killed, and what it started runs on.
            ended = error.data_dir.resolve()
            if error.is_held or not end_what_is_left(ended, os.environ):
                raise
        else:
            ended = Path(running.data_dir)
            end(running, os.environ)
        typer.echo(f"Gnomon on {ended} has ended.")

    @app.command("restart")
    def command_restart(data_dir: DataDir = None) -> None:
        """Begin anew with settings and code as they are now: traffic and instances go on."""
        from gnomon.cli.ending import restart
        from gnomon.cli.screens import print_processes

        print_processes(restart(running_file.find(data_dir, os.environ), os.environ))

    @app.command("status")
    def command_status(
        format_: FormatOption = Format.TABLE,
        watch: Annotated[
            bool, typer.Option("--watch", help="Show it anew all the time, until Ctrl-C.")
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Show what runs where: processes, endpoints, instances, experiments."""
        import msgspec

        from gnomon.cli.client import get
        from gnomon.cli.screens import print_processes, print_status

        def show() -> None:
            running = running_file.find(data_dir, os.environ)
            if format_ is Format.JSON:
                status = get(running, "/status")
                typer.echo(json.dumps({"gnomon": msgspec.to_builtins(running), **status}, indent=1))
            else:
                # Before control is asked, which may be away.
                print_processes(running)
                print_status(running, get(running, "/status"))

        if watch:
            from gnomon.cli.redraw import redraw

            redraw(show)
        else:
            show()

    @app.command("env")
    def command_env(data_dir: DataDir = None) -> None:
        """Print shell exports with which `aws` and boto3 reach Gnomon: eval "$(gnomon env)"."""
        running = running_file.find(data_dir, os.environ)
        typer.echo(shell_exports(aws_environment(running)))

    @app.command("report")
    def command_report(
        experiment: Annotated[str, typer.Argument(help="Name of the inference experiment.")],
        format_: Annotated[
            ReportFormat, typer.Option("--format", help="How to print.")
        ] = ReportFormat.TABLE,
        data_dir: DataDir = None,
    ) -> None:
        """Show the verdict, what it rests on, and production and shadow side by side."""
        from gnomon.cli.reporting import show_report

        show_report(running_file.find(data_dir, os.environ), experiment, format_)

    @app.command("cp")
    def command_cp(
        source: Annotated[str, typer.Argument(metavar="SRC", help="A file or s3:// object.")],
        target: Annotated[str, typer.Argument(metavar="DST", help="A file or s3:// object.")],
        data_dir: DataDir = None,
    ) -> None:
        """Copy between disk and the configured object store."""
        import asyncio

        from gnomon.cli.copying import copy
        from gnomon.cli.stores import open_store

        typer.echo(asyncio.run(copy(open_store(data_dir, os.environ), source, target)))

    @app.command(
        "aws",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )
    def command_aws(context: typer.Context) -> None:
        """Run the AWS CLI against Gnomon (needs the extra gnomon[cli])."""
        running = running_file.find(None, os.environ)
        program = _aws_program(os.environ)
        environ = process_environment(os.environ, aws_environment(running))
        sys.stdout.flush()
        os.execve(program, [program, *context.args], environ)  # noqa: S606 - the CLI takes over

    add_watching(app)
    add_capturing(app)
    add_keys(app)
    add_tls(app)
    add_analysis(app)
    return app


def run(up: Up) -> int:
    """The console entry: every expected error is one sentence; --debug shows the rest."""
    from typer.exceptions import TyperException

    app = build(up)
    try:
        # What a command raises as typer.Exit comes back as a number.
        return int(app(standalone_mode=False) or 0)
    except GnomonError as error:
        return _fail(str(error))
    except typer.Exit as error:
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except TyperException as error:
        # What was typed cannot be parsed.
        sys.stderr.write(f"gnomon: {error.format_message().rstrip('.')}. See gnomon --help.\n")
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, which is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the end of the program
        exhausted = exhaustion(error)
        if exhausted is not None:
            return _fail(str(exhausted))
        return _fail(
            f"Gnomon failed unexpectedly ({type(error).__name__}). Run it again with --debug to "
            "see the whole error."
        )


def _fail(sentence: str) -> int:
    if os.environ.get("GNOMON_DEBUG"):
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"gnomon: {sentence}\n")
    return 1


def _aws_program(environ: Mapping[str, str]) -> str:
    beside = Path(sys.executable).with_name("aws")
    program = str(beside) if beside.exists() else shutil.which("aws", path=environ.get("PATH"))
    if program is None:
        raise GnomonError(
            "The AWS CLI is not installed. Install it with pip install 'gnomon[cli]'."
        )
    return program
