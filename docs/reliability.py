"""Writes reliability.md: each fault, and what the tests measured of it.

`scripts/reliability` runs the tests that bring the faults about, and this with the directory that
they recorded in. The figures are kept beside, in reliability.json; a quick test sees that every
fault that is known has its row, and that the document is what is written from the figures.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.kit.machine import describe_machine

from gnomon.testing.reliability import FAULTS, Fault, Measured, loads, recorded

DOCUMENT = Path(__file__).with_name("reliability.md")
FIGURES = Path(__file__).with_name("reliability.json")

# What is shorter is shown as no time at all, in seconds.
_SHORTEST_SHOWN_S = 0.05

_HEAD = """# Reliability

What may go wrong, what a client sees of it, what is lost, and how long it takes until all is well
again. The figures are measured by the test suite, which writes this page (`scripts/reliability`):
the faults are brought about on a real Gnomon, under constant traffic over plain sockets without
retries where a row counts requests. A full database and a clock that is set are the exceptions:
control is the real one there, its instances and its clock are made up. A request is in flight from
its first byte sent to its answer's last byte read.

The kills of control, routers, collector and instances are of one run, at 50 % mirroring with two
routers, three production instances and two shadow instances. They overlap: a request that failed
while both a router and an instance died is counted in both rows.

Measured with Gnomon {gnomon} and Python {python} on {machine[processor]}, {machine[cores]} cores,
{machine[memory_gib]} GiB, {machine[system]}. The load average of the last minute was
{load[least]:.1f} to {load[most]:.1f} meanwhile, {load[median]:.1f} in the median, with what the
tests themselves need: above the number of cores, processes wait for each other, and seconds are
pessimistic. They differ on other machines; that nothing else fails or is lost is what the tests
insist on.

| fault | what the client sees | what is lost | until whole |
|---|---|---|---|
"""

_TAIL = """
*Until whole* is the median where a fault was brought about several times.
"""


def figures(measured: Mapping[str, Measured], load: Sequence[float]) -> dict[str, Any]:
    """What is kept beside the document: the machine, its load, the versions, what was measured."""
    return {
        "machine": describe_machine(),
        "load": {"least": min(load), "median": statistics.median(load), "most": max(load)},
        "gnomon": version("gnomon"),
        "python": sys.version.split()[0],
        "faults": {fault.name: asdict(measured[fault.name]) for fault in FAULTS},
    }


def written(kept: Mapping[str, Any]) -> str:
    """The document. Raises KeyError for a fault without figures."""
    rows = [_row(fault, Measured(**kept["faults"][fault.name])) for fault in FAULTS]
    return _HEAD.format(**kept) + "".join(rows) + _TAIL


def _row(fault: Fault, measured: Measured) -> str:
    client = f"{fault.client} {_failed(measured)}".strip()
    lost = " ".join([fault.lost, *_missing(measured)])
    return f"| {fault.name} | {client} | {lost} | {_seconds(measured)}: {fault.whole} |\n"


def _failed(measured: Measured) -> str:
    if measured.requests is None:
        return ""
    failed = sum(measured.failures.values())
    by = ", ".join(f"{count} {what}" for what, count in sorted(measured.failures.items()))
    return f"**{failed} of {measured.requests:,} requests failed**{f' ({by})' if by else ''}."


def _missing(measured: Measured) -> list[str]:
    return [
        f"**{missing:,} of {total:,} {kind} missing.**"
        for kind, (missing, total) in measured.missing.items()
    ]


def _seconds(measured: Measured) -> str:
    whole_s = measured.whole_s
    half = statistics.median(whole_s)
    median = f"**{half:.1f} s**" if half >= _SHORTEST_SHOWN_S else "**at once**"
    if len(whole_s) == 1:
        return median
    return f"{median} (longest of {len(whole_s)}: {max(whole_s):.1f} s)"


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    kept = figures(recorded(directory), loads(directory))
    FIGURES.write_text(json.dumps(kept, indent=2) + "\n")
    DOCUMENT.write_text(written(kept))
