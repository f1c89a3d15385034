"""Whether a router holds out: counts that add up, and memory and descriptors that stay flat.

First a shadow that fails at random, at a steady rate, with capture on, for as long as is asked
(`--minutes`). At the end the router is drained, and every request must be found in every count.
Then a shadow that hangs, at 3,000 requests a second, for longer than a model's time limit. It ends
with 1 when something grew or does not add up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from socket import create_server

import uvloop

from bench.kit.failing_shadow import FailingShadow
from bench.kit.ledger import Ledger
from bench.kit.load import Latency, Payload, measure_latency
from bench.kit.machine import Cores, share_out
from bench.kit.nginx import HOST, KEEP_ALIVE_S, Upstream, running_upstream
from bench.kit.report import Report
from bench.kit.router import BenchedRouter, running_router
from bench.kit.steady_client import SteadyClient
from bench.kit.versions import versions_of
from bench.kit.watch import Watch
from gnomon.model.snapshot import Capture, Endpoint, Experiment, Instance, Shadow, Variant
from gnomon.settings import RouterSettings

_SEED = 20
_RATE_PER_S = 200
_HUNG_RATE_PER_S = 3_000
_HUNG_MEMORY_MIB = 150.0
# Above a model's time limit of 60 s, so that the first copies are given up within it.
_HUNG_S = 75.0
# So that copies which hang are given up within a short run, too (s).
_TIME_LIMIT_S = 3.0
# How often closed segments are read and removed, as a collector would (s).
_READ_INTERVAL_S = 5.0
_FOREVER_S = 4e9


@dataclass(frozen=True)
class Soaked:
    """What the run with the failing shadow left to be judged."""

    client: SteadyClient
    shadow: FailingShadow
    watch: Watch
    ledger: Ledger
    failures: list[str]


def run(*, quick: bool, minutes: float = 1.0) -> Report:
    duration_s, hung_s = (6.0, 5.0) if quick else (minutes * 60, _HUNG_S)
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    soaked = _soak(cores, duration_s)
    latency, hung = _hang(cores, hung_s)
    return _report(soaked, latency, hung, duration_s)


# --- A shadow that fails at random ----------------------------------------------------------------


def _soak(cores: Cores, duration_s: float) -> Soaked:
    settings = RouterSettings(model_time_limit_s=_TIME_LIMIT_S)
    random = Random(_SEED)
    shadow, ledger = FailingShadow(random), Ledger()
    with _directory() as directory, _model(directory, cores) as model:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(shadow.listen())
            ready, soaked = _endpoints(model, shadow.port, (Capture("capture-1", "experiment-1"),))
            with running_router(
                directory / "data", cores.measured, [ready, soaked], settings
            ) as router:
                before = model.answered()
                client = SteadyClient(router.port, soaked.name, _RATE_PER_S, random)
                watch = Watch(router.pid)
                runner.run(_drive(client, shadow, watch, ledger, router, soaked, duration_s))
                answered = model.answered() - before
        # The router has drained: what it has to say is in its spool.
        ledger.read(router.layout.spool, soaked, is_ended=True)
    failures = [*watch.growth(), *ledger.differences(soaked, client.sent, answered)]
    if client.statuses[200] != client.sent:
        failures.append(f"Production's answers were not all 200: {dict(client.statuses)}.")
    return Soaked(client, shadow, watch, ledger, failures)


async def _drive(
    client: SteadyClient,
    shadow: FailingShadow,
    watch: Watch,
    ledger: Ledger,
    router: BenchedRouter,
    soaked: Endpoint,
    duration_s: float,
) -> None:
    async def collect() -> None:
        while True:
            await asyncio.sleep(_READ_INTERVAL_S)
            await asyncio.to_thread(ledger.read, router.layout.spool, soaked, is_ended=False)

    beside = [asyncio.create_task(work) for work in (shadow.run(), watch.run(), collect())]
    await client.run(duration_s)
    for task in beside:
        task.cancel()
    for ended in await asyncio.gather(*beside, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


# --- A shadow that hangs --------------------------------------------------------------------------


def _hang(cores: Cores, duration_s: float) -> tuple[Latency, Watch]:
    # Nobody accepts: the kernel takes connections and what is sent, as for a process that stopped.
    with (
        create_server((HOST, 0), backlog=4096) as hung,
        _directory() as directory,
        _model(directory, cores) as model,
    ):
        endpoints = _endpoints(model, hung.getsockname()[1], ())
        with running_router(directory / "data", cores.measured, endpoints) as router:
            watch = Watch(router.pid)
            watching = threading.Thread(target=watch.run_for, args=(duration_s,))
            watching.start()
            try:
                latency = measure_latency(
                    router.url(endpoints[1].name),
                    Payload("x" * 200, "application/octet-stream"),
                    _HUNG_RATE_PER_S,
                    duration_s,
                    cores.rest,
                    directory,
                )
            finally:
                watching.join()
    return latency, watch


# --- Both -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gnomon-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def _model(directory: Path, cores: Cores) -> Iterator[Upstream]:
    answer = '{"predictions": [{"label": "late", "score": 0.8125}]}'
    with running_upstream(directory / "model", cores.rest, answer) as model:
        yield model


def _endpoints(
    model: Upstream, shadow_port: int, captures: tuple[Capture, ...]
) -> tuple[Endpoint, Endpoint]:
    """One that is asked whether the router is ready, and one all of whose requests count."""

    def variant(name: str, port: int) -> Variant:
        instance = Instance(f"{name}-instance", HOST, port, keep_alive_s=KEEP_ALIVE_S)
        return Variant(f"{name}-variant", name, 1.0, (instance,))

    ready = Endpoint("ready-1", "ready", 1, (variant("ready", model.port),))
    soaked = Endpoint(
        "soaked-1",
        "soaked",
        1,
        (variant("production", model.port),),
        shadow=Shadow(variant("shadow", shadow_port), share=1.0),
        experiment=Experiment("experiment-1", "soak", time.time() + _FOREVER_S),
        captures=captures,
    )
    return ready, soaked


def _report(soaked: Soaked, latency: Latency, hung: Watch, duration_s: float) -> Report:
    ledger, client = soaked.ledger, soaked.client
    counts = {
        "requests": client.sent,
        "pairs": ledger.pairs.total(),
        "drops": sum(ledger.dropped.values()),
        "captures": ledger.captures.total(),
    }
    most_mib = max(hung.memory_mib)
    failures = soaked.failures + [f"Hung shadow: {line}" for line in hung.growth()]
    if most_mib > _HUNG_MEMORY_MIB:
        failures.append(f"With a hung shadow the router had {most_mib:.0f} MiB.")
    figures = {
        **counts,
        "reached_per_s": client.sent / duration_s,
        **soaked.watch.figures("failing"),
        "hung_reached_per_s": latency.requests_per_s,
        "hung_p99_us": latency.p99_us,
        **hung.figures("hung"),
    }
    return Report(
        figures={name: round(value, 3) for name, value in figures.items()},
        versions=versions_of(("gnomon", "uvloop", "httptools"), ("nginx", "h2load")),
        header=("shadow", "req/s", "MiB, middle", "MiB, end", "MiB, most", "descriptors, most"),
        rows=[
            _row("fails at random", figures["reached_per_s"], soaked.watch),
            _row("hangs", latency.requests_per_s, hung),
        ],
        notes=[
            "Counted: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ".",
            f"Copies dropped, by reason: {_listed(ledger.dropped)}.",
            f"Pairs by the shadow's failure: {_listed(ledger.pairs)}; 5xx: {ledger.pairs_5xx:,}.",
            f"What the shadow did: {_listed(soaked.shadow.fates)}.",
        ],
        goals={
            "reached_per_s": (">=", 0.98 * _RATE_PER_S),
            "hung_reached_per_s": (">=", 0.98 * _HUNG_RATE_PER_S),
        },
        failures=failures,
    )


def _row(label: str, per_s: float, watch: Watch) -> tuple[str, ...]:
    figures = watch.figures("x")
    names = ("memory_middle_mib", "memory_end_mib", "memory_most_mib", "descriptors_most")
    return (label, f"{per_s:,.0f}", *(f"{figures[f'x_{name}']:,.0f}" for name in names))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or 'none'} {count:,}" for name, count in sorted(counts.items()))
