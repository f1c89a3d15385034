"""`gnomon analysis`: how an experiment is judged, shown and set through the public API."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.options import DataDir
from gnomon.errors import GnomonError

Name = Annotated[str, typer.Argument(help="Name of the inference experiment.")]
_RULES = ("slow_down", "error_rate", "disagreement", "p99")


def add_analysis(app: typer.Typer) -> None:
    """Adds the commands `analysis show` and `analysis set`."""
    group = typer.Typer(
        help="Show or set how an experiment is judged.", no_args_is_help=True, rich_markup_mode=None
    )

    @group.command("show")
    def command_show(name: Name, data_dir: DataDir = None) -> None:
        """Print rules, comparison and guardrails as JSON."""
        from gnomon.cli import running
        from gnomon.cli.client import get

        _print(get(running.find(data_dir, os.environ), _path(name)))

    @group.command("set")
    def command_set(
        name: Name,
        file: Annotated[
            Path | None, typer.Option(help="JSON as `show` prints it; options change it further.")
        ] = None,
        task: Annotated[
            str | None, typer.Option(help="classification, regression, generic, or detect.")
        ] = None,
        slow_down: Annotated[float | None, typer.Option(help="Factor; 0 leaves it out.")] = None,
        error_rate: Annotated[float | None, typer.Option(help="Share of answers.")] = None,
        disagreement: Annotated[float | None, typer.Option(help="Share of answers.")] = None,
        p99: Annotated[float | None, typer.Option(help="Factor; 0 leaves it out.")] = None,
        least_pairs: Annotated[int | None, typer.Option(help="For a verdict.")] = None,
        absolute_tolerance: Annotated[
            float | None, typer.Option(help="Numbers this near are the same.")
        ] = None,
        relative_tolerance: Annotated[float | None, typer.Option(help="As a share.")] = None,
        ignore_path: Annotated[
            list[str] | None,
            typer.Option(help="A JSON pointer, * for any part, or 'column 3'; repeatable."),
        ] = None,
        noise_share: Annotated[
            float | None, typer.Option(help="Share of requests that production answers twice.")
        ] = None,
        comparator: Annotated[
            str | None,
            typer.Option(help="Name of a function in the settings, gnomon, or default."),
        ] = None,
        stop_when_broken: Annotated[
            bool | None, typer.Option(help="Stop the test once its verdict is not_ready.")
        ] = None,
        promote_when_ready: Annotated[
            bool | None, typer.Option(help="Promote the shadow at the end if it is ready.")
        ] = None,
        data_dir: DataDir = None,
    ) -> None:
        """Change how an experiment is judged. While it runs, its counts begin anew with that."""
        from gnomon.cli import running
        from gnomon.cli.client import get, put

        found = running.find(data_dir, os.environ)
        body = _read(file) if file is not None else get(found, _path(name))
        settings = body.setdefault("settings", {})
        rules = settings.setdefault("rules", {})
        margins = zip(_RULES, (slow_down, error_rate, disagreement, p99), strict=True)
        for rule, margin in margins:
            if margin is not None:
                is_left_out = margin == 0 and rule in {"slow_down", "p99"}
                rules[rule] = None if is_left_out else margin
        _set(rules, least_pairs=least_pairs)
        _set(
            settings.setdefault("comparison", {}),
            absolute_tolerance=absolute_tolerance,
            relative_tolerance=relative_tolerance,
            ignored_paths=ignore_path or None,
        )
        _set(settings, noise_share=noise_share, comparator=comparator)
        if task is not None:
            settings["task"] = None if task == "detect" else task
        _set(
            body.setdefault("guardrails", {}),
            stop_when_broken=stop_when_broken,
            promote_when_ready=promote_when_ready,
        )
        wanted = {"settings": settings, "guardrails": body["guardrails"]}
        _print(put(found, _path(name), wanted))

    app.add_typer(group, name="analysis")


def _path(name: str) -> str:
    from urllib.parse import quote

    return f"/experiments/{quote(name, safe='')}/analysis"


def _set(members: dict[str, Any], **given: object) -> None:
    members.update({name: value for name, value in given.items() if value is not None})


def _read(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise GnomonError(f"{file} cannot be read as JSON: {error}.") from error
    if not isinstance(read, dict):
        raise GnomonError(f"{file} is not a JSON object.")
    return read


def _print(analysis: object) -> None:
    typer.echo(json.dumps(analysis, indent=1))
