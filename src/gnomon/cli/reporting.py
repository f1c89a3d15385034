"""`gnomon report`: asks for a report's JSON, and prints it in one of four formats."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import typer

from gnomon.cli.client import get
from gnomon.cli.options import ReportFormat
from gnomon.cli.report_counts import counted, title
from gnomon.cli.report_sections import Section, headline, judged
from gnomon.cli.running import Running


def show_report(running: Running, experiment: str, format_: ReportFormat) -> None:
    """Print one experiment's report."""
    report = get(running, f"/experiments/{quote(experiment, safe='')}/report")
    print_in(format_, report)


def print_in(format_: ReportFormat, report: dict[str, Any]) -> None:
    """A report that is at hand."""
    # An experiment that has not begun has no analysis.
    analysis = report.get("analysis")
    verdict = headline(analysis) if analysis else None
    sections: list[Section] = [*(judged(analysis) if analysis else ()), *counted(report)]
    match format_:
        case ReportFormat.JSON:
            typer.echo(json.dumps(report, indent=1))
        case ReportFormat.MARKDOWN:
            from gnomon.cli.report_markdown import markdown

            typer.echo(markdown(title(report), verdict, sections), nl=False)
        case ReportFormat.HTML:
            from gnomon.cli.report_html import html

            typer.echo(html(title(report), verdict, sections, report))
        case ReportFormat.TABLE:
            from gnomon.cli.screens import print_report

            print_report(title(report), verdict, sections)
