"""What 10,000 endpoints and 1,000 changes a minute cost a request to one of them.

Two routers before the same nginx: one has one endpoint and is left alone, the other has 10,000,
which control changes one after another. Both are asked for as much as goes through, in turn. What
is compared is the CPU time of the router's process by the requests that it served, so that all
that the others cost it counts: what it applies, looks after and saves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from bench.kit.load import Payload, measure_maximum
from bench.kit.machine import share_out
from bench.kit.nginx import HOST, KEEP_ALIVE_S, Upstream, running_upstream
from bench.kit.report import CannotMeasure, Report
from bench.kit.rounds import in_turn, median_ratio
from bench.kit.router import BenchedRouter, running_router
from bench.kit.versions import versions_of
from gnomon.model.snapshot import Endpoint, Instance, Update, Variant
from gnomon.testing.fake_control_feed import FakeControlFeed

_ENDPOINTS = 10_000
_CHANGES_PER_MINUTE = 1_000
# For the router to ask control for changes, and to apply one.
_FEED_TIME_LIMIT_S = 60.0
_PAYLOAD = Payload('{"instances": [[2013, 1, 5.25, 1400, "UA", "EWR"]]}', "application/json")


@dataclass(frozen=True)
class Scope:
    rounds: int
    duration_s: float


_FULL = Scope(rounds=15, duration_s=2)
_QUICK = Scope(rounds=3, duration_s=1)


def run(*, quick: bool) -> Report:
    scope = _QUICK if quick else _FULL
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gnomon-bench-")))
        model = stack.enter_context(running_upstream(directory / "model", cores.rest, "{}"))
        one, many = (
            stack.enter_context(
                running_router(
                    directory / name,
                    cores.measured,
                    [_endpoint(number, 1, model) for number in range(endpoints)],
                )
            )
            for name, endpoints in (("one", 1), ("many", _ENDPOINTS))
        )
        changed = stack.enter_context(_changing(many, model))
        routers = {"one": one, "many": many}
        cpu_us: dict[str, list[float]] = {"one": [], "many": []}
        for number in range(-1, scope.rounds):
            for name in in_turn(tuple(routers), number):
                router = routers[name]
                before_s = router.cpu_s()
                found = measure_maximum(
                    router.url(_name(0)), _PAYLOAD, scope.duration_s, cores.rest, directory
                )
                # The first round only warms up.
                if number >= 0:
                    cpu_us[name].append((router.cpu_s() - before_s) / found.requests * 1e6)
        changes = len(changed)
    figures = {
        "one_cpu_us": median(cpu_us["one"]),
        "many_cpu_us": median(cpu_us["many"]),
        "many_to_one_cpu_ratio": median_ratio(cpu_us["many"], cpu_us["one"]),
        "changes": float(changes),
    }
    return Report(
        figures={name: round(value, 4) for name, value in figures.items()},
        versions=versions_of(("gnomon", "uvloop", "httptools"), ("nginx", "wrk")),
        header=("router", "CPU µs a request", "ratio"),
        rows=[
            ("one endpoint, no changes", f"{figures['one_cpu_us']:.1f}", ""),
            (
                f"{_ENDPOINTS:,} endpoints, {_CHANGES_PER_MINUTE:,} changes a minute",
                f"{figures['many_cpu_us']:.1f}",
                f"{figures['many_to_one_cpu_ratio']:.3f}",
            ),
        ],
        notes=[
            f"Medians of {scope.rounds} alternating rounds; the ratio is within a round.",
            f"The router applied {changes:,} changes meanwhile.",
            cores.said(),
        ],
        goals={"many_to_one_cpu_ratio": ("<=", 1.05)},
    )


@contextlib.contextmanager
def _changing(router: BenchedRouter, model: Upstream) -> Iterator[list[int]]:
    """Changes go to the router, the first before the block begins, until it ends; their versions,
    as they were applied. Raises CannotMeasure where the router does not take them.
    """
    applied: list[int] = []
    begun = threading.Event()
    ending = threading.Event()

    async def change() -> None:
        async with FakeControlFeed(router.layout.feed_socket) as feed:
            await _first_report(feed)
            for version in count(2):
                if ending.is_set():
                    return
                await asyncio.sleep(60 / _CHANGES_PER_MINUTE)
                number = 1 + version * 7919 % (_ENDPOINTS - 1)
                await feed.answer(Update(version, (_endpoint(number, version, model),)))
                applied.append((await feed.report()).version)
                begun.set()

    with ThreadPoolExecutor(1) as pool:
        changes = pool.submit(asyncio.run, change())
        changes.add_done_callback(lambda _: begun.set())
        try:
            begun.wait()
            if not applied:
                raise CannotMeasure(f"the router took no change: {changes.exception()}")
            yield applied
        finally:
            ending.set()
        try:
            changes.result()
        except TimeoutError as error:
            raise CannotMeasure("the router takes no more changes") from error


async def _first_report(feed: FakeControlFeed) -> None:
    """It comes when the router looks for control again, later on a busy machine."""
    until_s = time.monotonic() + _FEED_TIME_LIMIT_S
    while time.monotonic() < until_s:
        with contextlib.suppress(TimeoutError):
            await feed.report()
            return


def _name(number: int) -> str:
    return f"endpoint-{number}"


def _endpoint(number: int, version: int, model: Upstream) -> Endpoint:
    """Another version has another instance, as after a rolling update."""
    name = _name(number)
    instance = Instance(f"{name}-{version}", HOST, model.port, keep_alive_s=KEEP_ALIVE_S)
    variant = Variant(f"{name}-variant", "AllTraffic", 1.0, (instance,))
    return Endpoint(f"{name}-id", name, version, (variant,))
