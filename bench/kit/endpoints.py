"""Endpoints as control would tell a router of them, with upstreams of the bench behind them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.kit.nginx import HOST, KEEP_ALIVE_S
from gnomon.model.snapshot import Capture, Endpoint, Experiment, Instance, Shadow, Variant

# Later than any bench: an experiment that ended would not be mirrored.
_EXPERIMENT_S = 3_600.0


def plain(name: str, production: int, captures: Sequence[Capture] = ()) -> Endpoint:
    """One without a shadow; `production` is a port."""
    return Endpoint(
        id=f"{name}-1",
        name=name,
        version=1,
        production=(_variant(f"{name}-production", production),),
        captures=tuple(captures),
    )


def mirrored(
    name: str, production: int, shadow: int, share: float = 1.0, captures: Sequence[Capture] = ()
) -> Endpoint:
    """One with a shadow test on it, both answers paired; the ports are of its two upstreams."""
    return Endpoint(
        id=f"{name}-1",
        name=name,
        version=1,
        production=(_variant(f"{name}-production", production),),
        shadow=Shadow(_variant(f"{name}-shadow", shadow), share=share),
        experiment=Experiment(f"{name}-experiment", name, time.time() + _EXPERIMENT_S),
        captures=tuple(captures),
    )


def _variant(name: str, port: int) -> Variant:
    instance = Instance(f"{name}-instance", HOST, port, keep_alive_s=KEEP_ALIVE_S)
    return Variant(f"{name}-variant", name, 1.0, (instance,))
