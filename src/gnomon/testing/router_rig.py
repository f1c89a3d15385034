"""A router in the test's own process, on a real socket, with a spool that the test can read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random

from gnomon.model.snapshot import (
    Capture,
    Endpoint,
    Experiment,
    FrameKey,
    Incarnation,
    Instance,
    Shadow,
    Update,
    Variant,
)
from gnomon.router.pool import Address
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.router.totals import Totals
from gnomon.settings import RouterSettings
from gnomon.testing.certificates import LocalTls
from gnomon.testing.fake_spool import FakeSpool
from gnomon.testing.raw_http import Answer, RawClient, invocation

# Nothing listens there: port 1 needs a right that tests do not have.
NOBODY = 1
# How long (s) a test waits for something that must happen.
PATIENCE_S = 30.0
FAR_FUTURE_S = 4e9


def variant(name: str, *ports: int, weight: float = 1.0) -> Variant:
    """A variant with an instance on each port; ids are made of the name."""
    instances = tuple(Instance(f"{name}-{port}", "127.0.0.1", port) for port in ports)
    return Variant(f"v-{name}", name, weight, instances)


def endpoint(
    name: str,
    *production: Variant,
    version: int = 1,
    shadow: Variant | None = None,
    share: float = 1.0,
    ends_at_s: float = FAR_FUTURE_S,
    captures: Sequence[Capture] = (),
    barriers: Sequence[str] = (),
    routing: str = "LEAST_OUTSTANDING_REQUESTS",
    noise_share: float = 0.0,
    kms_key: str = "",
    frame_key: FrameKey | None = None,
) -> Endpoint:
    """An endpoint; with a shadow there is an experiment, `x-<name>`."""
    return Endpoint(
        id=f"e-{name}",
        name=name,
        version=version,
        production=production,
        routing=routing,  # type: ignore[arg-type]
        shadow=Shadow(shadow, share) if shadow else None,
        experiment=Experiment(f"x-{name}", name, ends_at_s, noise_share) if shadow else None,
        captures=tuple(captures),
        barriers=tuple(barriers),
        kms_key=kms_key,
        frame_key=frame_key,
    )


async def until(condition: Callable[[], object]) -> None:
    """Wait for the condition, with a bound."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


class RouterRig:
    """A running router with its port and its spool."""

    def __init__(
        self, router: Router, port: int, spool: FakeSpool, tls: LocalTls | None = None
    ) -> None:
        self.router = router
        self.port = port
        self.spool = spool
        self.tls = tls
        self._version = 0

    async def apply(self, *endpoints: Endpoint) -> None:
        """Control's next update."""
        self._version += 1
        await self.router.apply(Update(self._version, endpoints))

    def client(self) -> RawClient:
        return RawClient(self.port, self.tls.client() if self.tls else None)

    async def invoke(self, name: str, body: bytes = b"{}", **headers: str) -> Answer:
        """One invocation on a connection of its own."""
        async with self.client() as client:
            return await client.ask(invocation(name, body, **headers))

    def flush(self) -> None:
        """Bring the metrics into the spool now."""
        self.router.tick()


@contextlib.asynccontextmanager
async def running_router(
    directory: Path,
    *,
    settings: RouterSettings | None = None,
    spool: FakeSpool | None = None,
    control: Address = ("127.0.0.1", NOBODY),
    feed_path: Path | None = None,
    tls: LocalTls | None = None,
    totals: Totals | None = None,
    seed: int = 0,
) -> AsyncIterator[RouterRig]:
    """A router that serves until the block is left; then it is drained at once."""
    settings = settings or RouterSettings(drain_idle_s=0.0)
    spool = spool or FakeSpool()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        router = Router(
            settings,
            incarnation=Incarnation("incarnation", 0, 1, 0.0, "boot"),
            spool=spool,
            control_address=control,
            feed_path=feed_path or directory / "feed.sock",
            snapshot_path=directory / "snapshot",
            seal=Seal(bytes(32)),
            account_id="123456789012",
            region="eu-central-1",
            cover=tls.cover if tls else None,
            totals=totals,
            random=Random(seed),
        )
        await router.start(listener)
        try:
            yield RouterRig(router, listener.getsockname()[1], spool, tls)
        finally:
            await router.drain()
