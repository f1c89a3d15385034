"""What control's API and its loop cost when there are 100,000 experiments and 10,000 endpoints.

In SQLite, through a real control process over HTTP, one request at a time: the time of an answer,
not how many go through. Passes of the loop are timed in this process, on the same database: they
have no request to be seen by.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.kit import rows
from bench.kit.control import ControlApi, running_control
from bench.kit.machine import share_out
from bench.kit.report import Report
from bench.kit.versions import versions_of
from gnomon.control.loop import SWEEP_S
from gnomon.control.transactions import Transactions
from gnomon.settings import QuotaSettings
from gnomon.store.database import Database, sqlite_url
from gnomon.testing.control import (
    ACCOUNT,
    FakeClock,
    Surroundings,
    put_together,
    steady_offset_s,
)
from gnomon.testing.fake_host import FakeHost, FakeMachine

_PAGE = 100


@dataclass(frozen=True)
class Scope:
    """How many rows there are, and how often each thing is measured."""

    experiments: int
    endpoints: int
    requests: int
    lists: int
    passes: int


_FULL = Scope(experiments=100_000, endpoints=10_000, requests=300, lists=5, passes=50)
_QUICK = Scope(experiments=2_000, endpoints=200, requests=20, lists=1, passes=5)

_GOALS = {
    "describe_p50_ms": ("<=", 5.0),
    "list_worst_p50_ms": ("<=", 30.0),
    "create_p50_ms": ("<=", 20.0),
    "pass_p50_ms": ("<=", 50.0),
    "sweep_p50_ms": ("<=", 50.0),
}


@dataclass(frozen=True)
class Measured:
    """What one thing took, each time; `goal` is a figure's name, or empty.

    `cpu_ms` is control's CPU time of one, on average; None where nobody asked.
    """

    label: str
    took_ms: list[float]
    goal: str = ""
    cpu_ms: float | None = None

    @property
    def p50_ms(self) -> float:
        return median(self.took_ms)

    @property
    def p99_ms(self) -> float:
        ordered = sorted(self.took_ms)
        return ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)]


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="gnomon-bench-") as name:
        directory = Path(name)
        passes = asyncio.run(_fill_and_pass(directory, scope))
        with running_control(directory, cores.measured) as (api, started_s):
            requests = [_describes(api, scope), _creates(api, scope)]
            lists = [_list(api, case, scope) for case in _list_cases()]
    return _report(requests, lists, passes, started_s, scope)


# --- The loop ---------------------------------------------------------------------------------


async def _fill_and_pass(directory: Path, scope: Scope) -> list[Measured]:
    """Makes the database; what passes take that find nothing to do."""
    await rows.make(directory)
    database = Database(sqlite_url(directory / "state.db"))
    clock, machine = _MovedClock(), FakeMachine()
    offset_s = await steady_offset_s(database, clock)
    transactions = Transactions(database, ACCOUNT, clock, offset_s, os.urandom, QuotaSettings())
    control = put_together(directory, Surroundings(machine, clock, FakeHost(machine), transactions))

    async def sweep() -> None:
        clock.ahead_s += SWEEP_S
        await control.loop.make_pass()

    try:
        # The first time it has every endpoint looked at, which is a matter of its own.
        await control.loop.make_pass()
        await rows.fill(database, scope.experiments, scope.endpoints)
        resting = [await _timed(control.loop.make_pass) for _ in range(scope.passes)]
        sweeping = [await _timed(sweep) for _ in range(scope.passes)]
    finally:
        await control.feed.close()
        await control.keeper.close()
        await database.close()
    return [
        Measured("a pass that finds nothing to do", resting, "pass_p50_ms"),
        Measured("the same, of all endpoints (every 30 s)", sweeping, "sweep_p50_ms"),
    ]


class _MovedClock(FakeClock):
    """Monotonic time that can be moved on, to when everything is looked at again."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began_s = time.perf_counter()
    await work()
    return (time.perf_counter() - began_s) * 1000


# --- Requests ---------------------------------------------------------------------------------


def _describes(api: ControlApi, scope: Scope) -> Measured:
    def wanted(number: int) -> tuple[str, dict[str, Any]]:
        experiment = rows.experiment_name(number * 7919 % scope.experiments)
        endpoint = rows.endpoint_name(number * 7919 % scope.endpoints)
        return (
            ("DescribeInferenceExperiment", {"Name": experiment}),
            ("DescribeEndpoint", {"EndpointName": endpoint}),
        )[number % 2]

    before_ms = api.cpu_ms()
    took_ms = [api.call(*wanted(number))[0] for number in range(scope.requests)]
    cpu_ms = (api.cpu_ms() - before_ms) / len(took_ms)
    return Measured("Describe an experiment, or an endpoint", took_ms, "describe_p50_ms", cpu_ms)


def _creates(api: ControlApi, scope: Scope) -> Measured:
    """Experiments that begin later, each on an endpoint of its own."""
    took_ms, before_ms = [], api.cpu_ms()
    for number in rows.free_endpoints(scope.endpoints)[: scope.requests]:
        starts_at_s = time.time() + rows.DAY_S
        request = {
            "Name": f"new-{number}",
            "Type": "ShadowMode",
            "RoleArn": rows.ROLE,
            "EndpointName": rows.endpoint_name(number),
            "Schedule": {"StartTime": starts_at_s, "EndTime": starts_at_s + rows.DAY_S},
            "ModelVariants": [
                _variant("AllTraffic", rows.model_name(number)),
                _variant("Shadow-01", rows.model_name(number + 1)),
            ],
            "ShadowModeConfig": {
                "SourceModelVariantName": "AllTraffic",
                "ShadowModelVariants": [
                    {"ShadowModelVariantName": "Shadow-01", "SamplingPercentage": 50}
                ],
            },
            "DataStorageConfig": {"Destination": "s3://captures/new"},
        }
        took_ms.append(api.call("CreateInferenceExperiment", request)[0])
    # With what the loop does for each: it checks the shadow's archive.
    cpu_ms = (api.cpu_ms() - before_ms) / len(took_ms)
    return Measured("Create an experiment", took_ms, "create_p50_ms", cpu_ms)


def _variant(name: str, model: str) -> dict[str, Any]:
    config = {"InstanceType": rows.INSTANCE_TYPE, "InstanceCount": 1}
    return {
        "ModelName": model,
        "VariantName": name,
        "InfrastructureConfig": {
            "InfrastructureType": "RealTimeInference",
            "RealTimeInferenceConfig": config,
        },
    }


def _list_cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every List operation by every sort, both ways, with each filter, and with all of them."""
    now_s = time.time()
    middle_s = now_s - rows.AGE_S / 2
    common: list[Mapping[str, Any]] = [
        {},
        {"NameContains": "flights"},
        {"NameContains": "no-such-name"},
        {"CreationTimeBefore": middle_s},
        {"CreationTimeAfter": middle_s, "CreationTimeBefore": middle_s + rows.DAY_S},
    ]
    modified: list[Mapping[str, Any]] = [
        {"LastModifiedTimeAfter": now_s - rows.DAY_S, "LastModifiedTimeBefore": now_s},
    ]
    of: dict[str, list[Mapping[str, Any]]] = {
        "ListInferenceExperiments": [{"StatusEquals": "Running"}, {"StatusEquals": "Completed"}],
        "ListEndpoints": [{"StatusEquals": "Failed"}, {"StatusEquals": "Updating"}],
        "ListModels": [],
        "ListEndpointConfigs": [],
    }
    for operation, statuses in of.items():
        sorts = ("Name", "CreationTime", "Status") if statuses else ("Name", "CreationTime")
        filters = [*common, *(modified if statuses else []), *statuses]
        if statuses:
            filters.append({"NameContains": "flights", **modified[0], **statuses[0]})
        for sort, order, chosen in itertools.product(sorts, ("Ascending", "Descending"), filters):
            yield operation, {"SortBy": sort, "SortOrder": order, "MaxResults": _PAGE, **chosen}


def _list(api: ControlApi, case: tuple[str, dict[str, Any]], scope: Scope) -> Measured:
    operation, params = case
    chosen = {key: value for key, value in params.items() if key != "MaxResults"}
    took_ms, token, before_ms = [], None, api.cpu_ms()
    for number in range(scope.lists):
        # Every other time the page behind the last one.
        paged = params | ({"NextToken": token} if token and number % 2 else {})
        took, answer = api.call(operation, paged)
        took_ms.append(took)
        token = answer.get("NextToken")
    said = ", ".join(f"{key} {value}" for key, value in chosen.items())
    cpu_ms = (api.cpu_ms() - before_ms) / len(took_ms)
    return Measured(f"{operation}: {said}", took_ms, cpu_ms=cpu_ms)


# --- Reporting --------------------------------------------------------------------------------


def _report(
    requests: list[Measured],
    lists: list[Measured],
    passes: list[Measured],
    started_s: float | None,
    scope: Scope,
) -> Report:
    worst = max(lists, key=lambda case: case.p50_ms)
    every_ms = [took_ms for case in lists for took_ms in case.took_ms]
    cpu_ms = [case.cpu_ms for case in lists if case.cpu_ms is not None]
    shown = [
        *requests,
        dataclasses.replace(
            worst, label=f"List, the worst: {worst.label}", goal="list_worst_p50_ms"
        ),
        Measured(f"List, all {len(lists)} ways, a page of {_PAGE}", every_ms, cpu_ms=mean(cpu_ms)),
        *passes,
    ]
    figures = {of.goal: of.p50_ms for of in shown if of.goal} | {
        "list_all_p50_ms": median(every_ms),
        "list_worst_cpu_ms": max(cpu_ms),
    }
    if started_s is not None:
        figures["start_s"] = started_s
    return Report(
        figures={name: round(value, 3) for name, value in figures.items()},
        versions=versions_of(("gnomon", "sqlalchemy", "aiosqlite"), ()),
        header=("what", "p50 ms", "p99 ms", "CPU ms", "goal ms", "met"),
        rows=[_row(of) for of in shown],
        notes=[
            f"In SQLite: {scope.experiments:,} experiments, {scope.endpoints:,} of all else.",
            f"The dearest List takes {max(cpu_ms):.1f} ms of control's CPU; more is other work's.",
            _started(started_s),
        ],
        goals=_GOALS,
    )


def _started(started_s: float | None) -> str:
    if started_s is None:
        return "Control was still busy with its start when it was asked: all took longer by that."
    return f"From control's start until it had looked at every endpoint: {started_s:.1f} s."


def _row(of: Measured) -> tuple[str, ...]:
    goal_ms = _GOALS[of.goal][1] if of.goal else None
    return (
        of.label,
        f"{of.p50_ms:.1f}",
        f"{of.p99_ms:.1f}",
        "" if of.cpu_ms is None else f"{of.cpu_ms:.1f}",
        "" if goal_ms is None else f"{goal_ms:g}",
        "" if goal_ms is None else "yes" if of.p50_ms <= goal_ms else "no",
    )
