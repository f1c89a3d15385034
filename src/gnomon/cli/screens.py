"""What commands print: tables from the public API's answers. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gnomon.cli.report_sections import Section
from gnomon.cli.running import Running
from gnomon.model.layout import Layout

# Characters: wide enough for every table here.
_PIPE_WIDTH = 250


def print_up(running: Running) -> None:
    """The one screen of `gnomon up`."""
    console = _console()
    console.print(f"Gnomon {running.version} is up.", style="bold")
    console.print(f"  SageMaker API, endpoints   {running.url}")
    console.print(f"  Gnomon's own API           {running.url}/gnomon/v1/openapi.json")
    if running.s3_url:
        console.print(f"  S3                         {running.s3_url}")
    console.print(f"  data                       {running.data_dir}")
    processes = ", ".join(f"{process.name} {process.pid}" for process in running.processes)
    console.print(f"  processes                  supervisor {running.pid}, {processes}")
    console.print('  Use it from a shell with   eval "$(gnomon env)"')
    console.print("  End it with                Ctrl-C, or gnomon down")


def print_processes(running: Running) -> None:
    """The part of `gnomon status` that needs no answer."""
    console = _console()
    console.print(f"Gnomon {running.version} at {running.url}, data in {running.data_dir}")
    _print(
        console,
        "Processes",
        ("process", "pid"),
        [("supervisor", running.pid), *((p.name, p.pid) for p in running.processes)],
    )


def print_status(running: Running, status: dict[str, Any]) -> None:
    """The rest: what control says."""
    console = _console()
    for warning in status["warnings"]:
        console.print(f"Warning: {warning}", style="bold")
    waiting = status["spool"]
    if waiting["waiting_bytes"]:
        console.print(
            f"Waiting for the collector: {waiting['waiting_bytes']:,} bytes, the oldest for "
            f"{waiting['waited_s']:.1f} s"
        )
    _print(
        console,
        "Endpoints",
        ("endpoint", "status", "configuration", "failure"),
        [
            (e["name"], e["status"], e["configuration"], e["failure_reason"])
            for e in status["endpoints"]
        ],
    )
    _print(
        console,
        "Instances",
        ("instance", "endpoint", "variant", "status", "CPU weight", "address", "reason"),
        [
            (
                i["id"],
                i["endpoint"],
                i["variant"],
                i["status"],
                f"low ({status['light']})" if i["light"] else "normal",
                i["address"],
                i["reason"],
            )
            for i in status["instances"]
        ],
    )
    for line in overcommitted(status["machine"]):
        console.print(line)
    if status["instances"]:
        console.print(f"Their logs: {Layout(Path(running.data_dir)).logs}/instances/<instance>.log")
    _print(
        console,
        "Inference experiments",
        ("experiment", "status", "endpoint", "ends or ended at", "reason"),
        [
            (
                e["name"],
                e["status"],
                e["endpoint"],
                _time(e["completed_at_s"] or e["ends_at_s"]),
                e["status_reason"],
            )
            for e in status["experiments"]
        ],
    )

    for shadow in status["shadows"]:
        console.print(mirrored(shadow))


def mirrored(shadow: dict[str, Any]) -> str:
    """What became of the requests that could have gone to a shadow, in a line."""
    parts = [f"{shadow['mirrored']:,} mirrored", f"{shadow['not_sampled']:,} not sampled"]
    if shadow["opted_out"]:
        parts.append(f"{shadow['opted_out']:,} opted out")
    for said, counts in (("dropped", shadow["dropped"]), ("failed", shadow["failed"])):
        parts += [f"{count:,} {said} ({reason})" for reason, count in counts.items() if count]
    return (
        f"Shadow {shadow['variant']} of {shadow['endpoint']}, last {shadow['minutes']} minutes: "
        f"{shadow['candidates']:,} requests, of which {', '.join(parts)}"
    )


def print_keys(keys: list[dict[str, Any]]) -> None:
    """The table of `gnomon keys list`."""
    _print(
        _console(),
        "Keys",
        ("key", "aliases", "state", "created", "description"),
        [
            (k["arn"], ", ".join(k["aliases"]), k["state"], k["created"], k["description"])
            for k in keys
        ],
    )


def overcommitted(machine: dict[str, int]) -> list[str]:
    """A line for each share of the machine that instance types promise more of than there is."""
    gib = 1024**3
    lines = []
    if machine["wanted_vcpus"] > machine["cores"]:
        lines.append(
            f"Over-committed: instance types add up to {machine['wanted_vcpus']} vCPUs, and this "
            f"machine has {machine['cores']} cores."
        )
    if machine["wanted_memory_bytes"] > machine["memory_bytes"]:
        lines.append(
            f"Over-committed: instance types add up to {machine['wanted_memory_bytes'] / gib:.1f} "
            f"GiB of memory, and this machine has {machine['memory_bytes'] / gib:.1f}."
        )
    return lines


def print_report(title: str, verdict: str | None, sections: list[Section]) -> None:
    """A report for a terminal; tables are as wide as it is."""
    console = _console()
    console.print(title)
    if verdict is not None:
        console.print(f"Verdict: {verdict}", style="bold")
    for section in sections:
        console.print()
        if section.rows:
            _print(console, section.title, section.columns, section.rows)
        else:
            console.print(section.title, style="italic")
        for line in section.lines:
            console.print(line)


def _console() -> Console:
    """Texts are printed as they are; where nobody looks, nothing is cut to a screen's width."""
    plain = Console(highlight=False, markup=False, soft_wrap=True)
    if plain.is_terminal:
        return plain
    return Console(highlight=False, markup=False, soft_wrap=True, width=_PIPE_WIDTH)


def _print(
    console: Console, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]
) -> None:
    listed = list(rows)
    if not listed:
        console.print(f"{title}: none")
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in listed:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
