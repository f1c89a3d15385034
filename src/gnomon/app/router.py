"""The router process: one loop on uvloop, no SQL, no disk wait."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from pathlib import Path

import structlog
import uvloop

from gnomon.app import certificate as certificates
from gnomon.app.child import Hand, Orders, run_child
from gnomon.app.handover import Offer
from gnomon.app.heartbeat import BEAT_INTERVAL_S
from gnomon.app.machine import new_id
from gnomon.model.layout import Layout
from gnomon.model.snapshot import Incarnation
from gnomon.router import descriptors
from gnomon.router.router import Router
from gnomon.router.seal import Seal
from gnomon.router.totals import Totals
from gnomon.settings import Settings
from gnomon.spool.writer import SpoolWriter

# How long control may take to come up where a router needs its word before it serves, in seconds.
_CONTROL_PATIENCE_S = 10.0

_LOG = structlog.get_logger(__name__)


async def main(settings: Settings, hand: Hand, orders: Orders) -> None:
    descriptors.raise_limit()
    layout = Layout(settings.data_dir)
    incarnation = Incarnation(
        id=new_id(),
        slot=hand.slot,
        pid=os.getpid(),
        start_time=_start_ticks(),
        boot_id=_boot_id(),
    )
    loop = asyncio.get_running_loop()
    working = [loop.create_task(_beat(hand.heartbeat))]
    pair = certificates.files(settings)
    certificate = None if pair is None else await certificates.Certificate.loaded(pair)
    if certificate is not None:
        working.append(loop.create_task(certificate.watch()))
    spool = SpoolWriter(layout.spool, incarnation.id, settings.spool)
    server = settings.server
    totals = Totals() if server.metrics_port else None
    cover = None if certificate is None else certificate.cover
    router = Router(
        settings.router,
        incarnation=incarnation,
        spool=spool,
        control_address=layout.control_socket,
        feed_path=layout.feed_socket,
        snapshot_path=layout.snapshot(hand.slot),
        seal=Seal(orders.key),
        account_id=settings.aws.account_id,
        region=settings.aws.region,
        cover=cover,
        totals=totals,
    )
    listener = socket.socket(fileno=hand.listener)
    await router.start(listener, relieves=hand.relieves, patience_s=_CONTROL_PATIENCE_S)
    scraping = None
    if totals is not None:
        # It brings prometheus-client along.
        from gnomon.router.metrics_page import MetricsPage

        page = MetricsPage(totals, cover)
        scraping = loop.create_task(page.serve(server.host, server.metrics_port + hand.slot))
    offer = _offer(layout.handover_socket(incarnation.pid), listener)
    # What is alive now lives as long as the process: collections need not look at it again, and
    # a higher threshold keeps them off the request path (the bench `router` shows it).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    # A router serves on without a supervisor.
    await orders.drain.wait()
    if scraping is not None:
        # A successor waits for the port.
        scraping.cancel()
    # Without a next life every router ends now: what waits on the socket is nobody else's.
    is_last = offer is None or not offer.is_taken
    if offer is not None:
        loop.remove_reader(offer.fileno())
        offer.close()
    await router.drain(last=is_last)
    # The heart beats on while a slow disk is waited for.
    await asyncio.to_thread(spool.close)
    if spool.given_up:
        _LOG.error("the spool's disk did not take all", frames=spool.given_up, reason=spool.trouble)
    for work in working:
        work.cancel()


def _offer(path: Path, listener: socket.socket) -> Offer | None:
    """Offers the listening socket from now on. Requests are served whether or not it can be."""
    try:
        offer = Offer(path, listener)
    except OSError as error:
        _LOG.warning("the listening socket is not offered", path=str(path), reason=error.strerror)
        return None
    asyncio.get_running_loop().add_reader(offer.fileno(), offer.serve)
    return offer


async def _beat(heartbeat: int) -> None:
    """Tells the supervisor, if there still is one, that the loop goes round."""
    os.set_blocking(heartbeat, False)
    while True:
        # Full: the supervisor does not look. Broken: it is gone.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(heartbeat, b".")
        await asyncio.sleep(BEAT_INTERVAL_S)


def _start_ticks() -> int:
    """Field 22 of proc(5)'s stat of this process."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - before anything is served
        return int(file.read().rpartition(b")")[2].split()[19])


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - as above
        return file.read().strip()


if __name__ == "__main__":
    run_child("router", main, uvloop.new_event_loop)
