"""`python -m bench`: lists the benches, or runs one; `scripts/bench` makes what they need.

A bench is a module of this package whose `run` measures and returns a report; what benches share
is in `bench.kit`. It ends with 0 when it could measure, whatever the figures say, unless the
report names something that must hold on any machine and did not.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pkgutil
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.kit.machine import describe_machine
from bench.kit.report import CannotMeasure, Report, print_report, write_json
from bench.peers.document import write_section

_HERE = Path(__file__).parent


def main() -> None:
    arguments = _parse()
    if arguments.name is None:
        for name in _names():
            print(f"{name:12} {_first_line(name)}")
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    module = "bench.peers.run" if arguments.peers else f"bench.{arguments.name}"
    try:
        report: Report = importlib.import_module(module).run(
            quick=arguments.quick,
            **({} if arguments.minutes is None else {"minutes": arguments.minutes}),
        )
    except CannotMeasure as error:
        sys.exit(f"bench {arguments.name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print_report(arguments.name, report, describe_machine())
    if arguments.docs:
        write_section(arguments.name, report, describe_machine())
    if arguments.json is not None:
        write_json(arguments.json, arguments.name, report, describe_machine())
    if report.failures:
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Without a name: the list.")
    parser.add_argument("name", nargs="?", choices=_names())
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--minutes", type=float, metavar="N", help="soak: how long; 1 by default")
    parser.add_argument(
        "--peers", action="store_true", help="router: beside nginx and Envoy; seven minutes"
    )
    parser.add_argument(
        "--docs",
        action="store_true",
        help="--peers, profile and telemetry: write docs/performance.md",
    )
    arguments = parser.parse_args()
    if arguments.minutes is not None and arguments.name != "soak":
        parser.error("--minutes goes with soak")
    if arguments.peers and arguments.name != "router":
        parser.error("--peers goes with router")
    is_written = arguments.peers or arguments.name in {"profile", "telemetry"}
    if arguments.docs and (not is_written or arguments.quick):
        parser.error("--docs goes with router --peers, profile or telemetry, without --quick")
    return arguments


def _names() -> list[str]:
    return [
        module.name
        for module in pkgutil.iter_modules([str(_HERE)])
        if not module.ispkg and module.name != "__main__"
    ]


def _first_line(name: str) -> str:
    # Not imported: a list must not depend on what a bench needs.
    tree = ast.parse((_HERE / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave through every `with`, so that each process that was started is ended."""
    for other in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    # A pipe that closes early (`scripts/bench | head`) is no error of ours.
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
