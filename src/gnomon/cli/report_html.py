"""A report as one HTML file: no script, no network, and charts as inline SVG.

A few paths of SVG are all that the charts need. They are there as soon as the file is open, print
sharply, and leave the file at tens of kilobytes, where a charting library alone has megabytes; what
a pointer over a chart would tell is in the tables. The template escapes every text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from gnomon.cli import report_charts
from gnomon.cli.report_sections import Section
from gnomon.cli.report_texts import Foreign, foreign, percent


def html(title: str, verdict: str | None, sections: list[Section], report: dict[str, Any]) -> str:
    """The whole file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["foreign"] = lambda text: isinstance(text, Foreign)
    environment.filters["percent"] = percent
    environment.filters["as_foreign"] = foreign
    analysis = report.get("analysis")
    return environment.get_template("report.html").render(
        title=title,
        verdict=verdict,
        status=analysis["verdict"]["status"] if analysis else "",
        sections=sections,
        latencies=report_charts.latencies(report.get("distributions", {})),
        slow_down=report_charts.slow_down(report.get("progress", []), _margin(analysis)),
        bars=report_charts.bars(analysis["differences"]) if analysis else [],
        chart=report_charts,
    )


def _margin(analysis: dict[str, Any] | None) -> float | None:
    rules = analysis["verdict"]["rules"] if analysis else []
    return next((rule["margin"] for rule in rules if rule["name"] == "slow_down"), None)
