"""What a faulty shadow costs production: its 99th percentile beside that with a healthy shadow.

Every request is mirrored. One router process for each shadow, so that what one leaves behind does
not reach the others; they share a core and are measured in turn, in alternating rounds.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from bench.kit.faulty import running_faulty
from bench.kit.load import Latency, Payload, measure_latency
from bench.kit.machine import Cores, share_out
from bench.kit.nginx import HOST, KEEP_ALIVE_S, running_upstream
from bench.kit.report import Report, missed_goals
from bench.kit.rounds import in_turn, median_ratio, valid
from bench.kit.router import BenchedRouter, running_router
from bench.kit.versions import versions_of
from gnomon.model.snapshot import Endpoint, Experiment, Instance, Shadow, Variant
from gnomon.testing.shadow_faults import FAULTS

_RATE_PER_S = 500
_NAME = "mirrored"
_ANSWER = '{"predictions": [{"label": "late", "score": 0.8125}]}'
_BODY = '{"instances": [[2013, 1, 5.25, 1400, "UA", "EWR"]]}'
# Later than any bench: an experiment that ended would not be mirrored.
_EXPERIMENT_S = 3_600.0
# Nothing listens there: port 1 needs a right that benches do not have.
_NOBODY = 1
# The goal: so many times a healthy run's p99, or so much (us) more.
_FACTOR = 1.3
_MORE_US = 500.0


@dataclass
class Fault:
    """A shadow, the router before it, and production's p99 (us) by round."""

    label: str
    router: BenchedRouter
    p99_us: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.label.replace(" ", "_")


@dataclass(frozen=True)
class Scope:
    """How much is measured: `latency_s` is per shadow and round."""

    rounds: int
    latency_s: float


_FULL = Scope(rounds=7, latency_s=3)
_QUICK = Scope(rounds=1, latency_s=1)


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    load_before = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gnomon-bench-")))
        faults = stack.enter_context(_rig(directory, cores))
        for fault in faults:
            _measure(fault, 1, cores, directory)
        for number in range(scope.rounds):
            for fault in in_turn(faults, number):
                fault.p99_us.append(_measure(fault, scope.latency_s, cores, directory).p99_us)
                fault.router.empty_spool()
        return _report(faults, cores, scope, load_before)


@contextlib.contextmanager
def _rig(directory: Path, cores: Cores) -> Iterator[list[Fault]]:
    with contextlib.ExitStack() as stack:
        production, healthy = (
            stack.enter_context(running_upstream(directory / name, cores.rest, _ANSWER)).port
            for name in ("production", "healthy")
        )
        shadows = {"healthy": healthy, "refuses": _NOBODY}
        for number, name in enumerate(name for name in FAULTS if name != "nothing"):
            shadows[name] = stack.enter_context(
                running_faulty(directory / f"shadow-{number}", cores.rest, name)
            )
        faults = []
        for number, (name, port) in enumerate(shadows.items()):
            router = stack.enter_context(
                running_router(
                    directory / f"data-{number}", cores.measured, [_endpoint(production, port)]
                )
            )
            faults.append(Fault(name, router))
        yield faults


def _endpoint(production: int, shadow: int) -> Endpoint:
    return Endpoint(
        id="mirrored-1",
        name=_NAME,
        version=1,
        production=(_variant("production", production),),
        shadow=Shadow(_variant("shadow", shadow), share=1.0),
        experiment=Experiment("experiment-1", "bench", time.time() + _EXPERIMENT_S),
    )


def _variant(name: str, port: int) -> Variant:
    instance = Instance(f"{name}-instance", HOST, port, keep_alive_s=KEEP_ALIVE_S)
    return Variant(f"{name}-variant", name, 1.0, (instance,))


def _measure(fault: Fault, duration_s: float, cores: Cores, directory: Path) -> Latency:
    payload = Payload(_BODY, "application/json")
    url = fault.router.url(_NAME)
    # An answer that is not 2xx ends the bench.
    return valid(
        lambda: measure_latency(url, payload, _RATE_PER_S, duration_s, cores.rest, directory),
        lambda found: found.is_void,
        f"{_RATE_PER_S} requests a second were not reached beside a shadow that is {fault.label}",
    )


# --- Reporting ------------------------------------------------------------------------------------


def _report(faults: list[Fault], cores: Cores, scope: Scope, load_before: float) -> Report:
    healthy, *others = faults
    figures = {"healthy_p99_us": median(healthy.p99_us)}
    goals = {}
    bounds = [max(_FACTOR * p99_us, p99_us + _MORE_US) for p99_us in healthy.p99_us]
    for fault in others:
        figures[f"{fault.name}_p99_us"] = median(fault.p99_us)
        figures[f"{fault.name}_to_healthy_ratio"] = median_ratio(fault.p99_us, healthy.p99_us)
        figures[f"{fault.name}_to_bound_ratio"] = median_ratio(fault.p99_us, bounds)
        goals[f"{fault.name}_to_bound_ratio"] = ("<=", 1.0)
    report = Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(("gnomon", "uvloop", "httptools"), ("nginx", "h2load")),
        header=("shadow", "p99 µs", "x healthy", "of the bound", "goal"),
        rows=[],
        notes=[
            f"{_RATE_PER_S} requests a second, all mirrored; {scope.rounds} rounds in turn.",
            f"Of {scope.latency_s:g} s a shadow; medians, and medians of ratios within a round.",
            f"The bound is {_FACTOR:g} x the healthy run of the round, or {_MORE_US:g} µs more.",
            cores.said(),
            f"Load of the machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after.",
            "All answers were 2xx.",
        ],
        goals=goals,
    )
    missed = {line.partition(" ")[0] for line in missed_goals(report)}
    rows = [(healthy.label, f"{median(healthy.p99_us):,.0f}", "1.00", "", "")]
    rows += [
        (
            fault.label,
            f"{median(fault.p99_us):,.0f}",
            f"{figures[f'{fault.name}_to_healthy_ratio']:.2f}",
            f"{figures[f'{fault.name}_to_bound_ratio']:.2f}",
            "missed" if f"{fault.name}_to_bound_ratio" in missed else "met",
        )
        for fault in others
    ]
    return replace(report, rows=rows)
