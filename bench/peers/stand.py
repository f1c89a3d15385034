"""All that runs while the peers are compared: each proxy once for each state of the shadow.

What waits for a hung shadow is so in another process than what is measured with a healthy one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.kit.endpoints import mirrored, plain
from bench.kit.machine import share_out
from bench.kit.nginx import running_upstream
from bench.kit.payloads import ANSWER, LARGE, LIKE_AN_SDK, SMALL
from bench.kit.router import BenchedRouter, running_router
from bench.kit.silent import refusing, running_silent
from bench.kit.way import Rig, Way
from bench.peers.envoy import running_envoy
from bench.peers.nginx import running_nginx
from gnomon.model.snapshot import Capture

HEALTHY, DEAD, HUNG = "healthy", "dead", "hung"
SYSTEMS = ("nginx", "envoy", "gnomon")


@dataclass(frozen=True)
class Stand:
    """`ways` by name; `routers` by the shadow's state; `pids` of SYSTEMS, the shadow healthy."""

    rig: Rig
    ways: dict[str, Way]
    routers: dict[str, BenchedRouter]
    pids: dict[str, int]


@contextlib.contextmanager
def standing() -> Iterator[Stand]:
    sdk = LIKE_AN_SDK
    cores = share_out(frozenset(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gnomon-bench-")))
        production = stack.enter_context(
            running_upstream(directory / "production", cores.rest, ANSWER)
        )
        shadow = stack.enter_context(running_upstream(directory / "shadow", cores.rest, ANSWER))
        ports = {
            HEALTHY: shadow.port,
            DEAD: stack.enter_context(refusing()),
            HUNG: stack.enter_context(running_silent(directory, cores.rest)),
        }
        ways = [
            Way("direct", "direct", production.url, SMALL),
            Way("direct_64k", "direct, 64 KiB", production.url, LARGE),
        ]
        routers, pids = {}, {}
        for state, port in ports.items():
            at, core = (production.port, port), cores.measured
            nginx = stack.enter_context(running_nginx(directory / f"nginx-{state}", core, *at))
            envoy = stack.enter_context(running_envoy(directory / f"envoy-{state}", core, *at))
            router = stack.enter_context(
                running_router(
                    directory / f"gnomon-{state}",
                    core,
                    [
                        plain("plain", at[0]),
                        mirrored("mirrored", *at),
                        mirrored("captured", *at, captures=[Capture("capture", "")]),
                        mirrored("unsampled", *at, share=0.0),
                    ],
                )
            )
            routers[state] = router
            is_mirrored, suffix = state == HEALTHY, "" if state == HEALTHY else f"_{state}"
            said = "" if is_mirrored else f", shadow {state}"
            url, cpu_s = router.url("mirrored"), router.cpu_s
            ways += [
                Way(f"nginx{suffix}", f"nginx{said}", nginx.url, SMALL, nginx.cpu_s, is_mirrored),
                Way(f"envoy{suffix}", f"Envoy{said}", envoy.url, SMALL, envoy.cpu_s, is_mirrored),
                Way(f"gnomon{suffix}", f"Gnomon{said}", url, SMALL, cpu_s, is_mirrored),
            ]
            if is_mirrored:
                pids = {"nginx": nginx.pid, "envoy": envoy.pid, "gnomon": router.pid}
                captured, unsampled = router.url("captured"), router.url("unsampled")
                ways += [
                    Way("gnomon_capture", "Gnomon, capture on", captured, SMALL, cpu_s, True),
                    Way("gnomon_sdk", "Gnomon, 14 headers", url, sdk, cpu_s, True),
                    Way(
                        "envoy_sdk", "Envoy, 14 headers", envoy.url, LIKE_AN_SDK, envoy.cpu_s, True
                    ),
                    Way("nginx_64k", "nginx, 64 KiB", nginx.url, LARGE, nginx.cpu_s, True),
                    Way("envoy_64k", "Envoy, 64 KiB", envoy.url, LARGE, envoy.cpu_s, True),
                    Way("gnomon_64k", "Gnomon, 64 KiB", url, LARGE, cpu_s, True),
                    Way("none", "Gnomon, no shadow", router.url("plain"), SMALL, cpu_s),
                    Way("unsampled", "Gnomon, 0 % sampled", unsampled, SMALL, cpu_s),
                ]
        rig = Rig(production, shadow, cores, directory)
        yield Stand(rig, {way.name: way for way in ways}, routers, pids)
