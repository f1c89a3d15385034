"""`gnomon analysis`: how an experiment is judged, shown and set through the public API."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.options import DataDir
from gnomon.errors import GnomonError

Name = Annotated[str, typer.Argument(help="Name of the inference experiment.")]


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
        slow_down: Annotated[
            str | None, typer.Option(help="Factor; none leaves the rule out.")
        ] = None,
        error_rate: Annotated[str | None, typer.Option(help="Share of answers, or none.")] = None,
        disagreement: Annotated[str | None, typer.Option(help="Share of answers, or none.")] = None,
        p99: Annotated[str | None, typer.Option(help="Factor, or none.")] = None,
        least_pairs: Annotated[int | None, typer.Option(help="For a verdict.")] = None,
        most_dropped: Annotated[
            float | None, typer.Option(help="Share of copies, for a verdict.")
        ] = None,
        alpha: Annotated[
            float | None, typer.Option(help="How likely any rule may ever be wrongly decided.")
        ] = None,
        dependence: Annotated[
            str | None, typer.Option(help="What rates rest on: pairs, or blocks.")
        ] = None,
        block_s: Annotated[float | None, typer.Option(help="Seconds of a block.")] = None,
        absolute_tolerance: Annotated[
            float | None, typer.Option(help="Numbers this near are the same.")
        ] = None,
        relative_tolerance: Annotated[float | None, typer.Option(help="As a share.")] = None,
        list_order: Annotated[
            str | None, typer.Option(help="kept, or any: lists are the same in any order.")
        ] = None,
        text: Annotated[
            str | None, typer.Option(help="normalised, or exact: the same to the letter.")
        ] = None,
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
        margins = {
            "slow_down": slow_down,
            "error_rate": error_rate,
            "disagreement": disagreement,
            "p99": p99,
        }
        rules.update({rule: _margin(rule, m) for rule, m in margins.items() if m is not None})
        _set(rules, least_pairs=least_pairs, most_dropped=most_dropped)
        _set(
            settings.setdefault("comparison", {}),
            absolute_tolerance=absolute_tolerance,
            relative_tolerance=relative_tolerance,
            list_order=list_order,
            text=text,
            ignored_paths=ignore_path or None,
        )
        _set(
            settings,
            alpha=alpha,
            dependence=dependence,
            block_s=block_s,
            noise_share=noise_share,
            comparator=comparator,
        )
        if task is not None:
            settings["task"] = None if task == "detect" else task
        _set(
            body.setdefault("guardrails", {}),
            stop_when_broken=stop_when_broken,
            promote_when_ready=promote_when_ready,
        )
        wanted = {"settings": settings, "guardrails": body["guardrails"]}
        try:
            json.dumps(wanted, allow_nan=False)
        except ValueError as error:
            raise GnomonError("Every number of an analysis has to be finite.") from error
        _print(put(found, _path(name), wanted))

    app.add_typer(group, name="analysis")


def _path(name: str) -> str:
    from urllib.parse import quote

    return f"/experiments/{quote(name, safe='')}/analysis"


def _set(members: dict[str, Any], **given: object) -> None:
    members.update({name: value for name, value in given.items() if value is not None})


def _margin(rule: str, given: str) -> float | None:
    if given == "none":
        return None
    try:
        margin = float(given)
    except ValueError:
        margin = math.nan
    if not math.isfinite(margin):
        option = f"--{rule.replace('_', '-')}"
        raise GnomonError(f"{option} is a number, or none to leave the rule out, not {given}.")
    return margin


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
