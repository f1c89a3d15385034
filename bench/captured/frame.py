"""What a captured exchange costs a router: the code that a router runs, called without requests.

From the two bodies to the bytes in the segment's file: the frame, its encoding, the buffer and the
thread that writes. CPU time of this process, which does nothing else meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

from bench.kit.collector import CAPTURE_ID
from bench.kit.endpoints import plain
from bench.kit.load import Payload
from bench.kit.payloads import ANSWER
from bench.kit.report import CannotMeasure
from gnomon.model.snapshot import Capture, Instance
from gnomon.router.call import Source
from gnomon.router.clock import MachineClock
from gnomon.router.counters import Counters
from gnomon.router.exchange import EventIds, Exchange, Outcome
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.outbox import Outbox
from gnomon.router.pool import Pool, PoolLimits
from gnomon.router.records import Records
from gnomon.router.request import Request
from gnomon.router.routes import RoutingTable
from gnomon.settings import RouterSettings, SpoolSettings
from gnomon.spool.writer import SpoolWriter

_LOOK_S = 0.01
# No connection is made.
_LIMITS = PoolLimits(1, 1.0, 1.0, 1.0, 1024)
_PORT = 9


class _Gone:
    """A client that has its answer."""

    def answer(self, head: bytes, body: bytes) -> None: ...

    def begin(self, head: bytes, source: Source) -> None: ...

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...


def frame_cpu_us(root: Path, payload: Payload, frames: int) -> float:
    """CPU time of one frame, of so many in a row."""
    return asyncio.run(_measured(root, payload, frames))


async def _measured(root: Path, payload: Payload, frames: int) -> float:
    writer = SpoolWriter(root, "frames", SpoolSettings())
    try:
        exchange, outcome = _exchange(writer, payload)
        records = Records(writer, RouterSettings().pair_body_bytes)
        before_s = time.process_time()
        for _ in range(frames):
            records.capture(exchange, outcome)
        while writer.waiting_bytes:
            # The loop's thread rests: the writer's own has the rest to do.
            time.sleep(_LOOK_S)  # noqa: ASYNC251
        taken_s = time.process_time() - before_s
    finally:
        writer.close()
    if writer.dropped or writer.given_up:
        raise CannotMeasure(f"Not all of {frames} frames went to the disk of {root}.")
    return taken_s / frames * 1e6


def _exchange(writer: SpoolWriter, payload: Payload) -> tuple[Exchange, Outcome]:
    clock = MachineClock()

    outbox = Outbox(clock.monotonic_s)

    def instance(spec: Instance, variant: LiveVariant) -> LiveInstance:
        pools = (Pool((spec.host, spec.port), 1.0, _LIMITS, clock, outbox) for _ in range(2))
        return LiveInstance(spec, variant, *pools)

    routes = RoutingTable(instance, Counters(writer))
    entry = routes.apply(plain("frames", _PORT, [Capture(CAPTURE_ID, "")])).entry
    headers = [(name.encode(), value.encode()) for name, value in payload.all_headers().items()]
    request = Request(b"POST", b"/", headers, keeps_alive=True)
    request.body = payload.body.encode()
    event_id = EventIds(Random(1)).next()
    now_s = clock.now_s(), clock.monotonic_s()
    exchange = Exchange(entry, _Gone(), request, event_id, *now_s, entry.captures)
    variant = entry.variants[0]
    answer = (200, "", 0.001, b"application/json", ANSWER.encode())
    return exchange, Outcome(variant, variant.instances[0], *answer)
