"""What the supervisor hands to a process that it starts, and how the process takes it.

It goes through one environment variable: settings, the inherited descriptors, and the slot of a
router. The lifetime pipe's write end is the supervisor's. The first that comes through it is the
sealing key, once the supervisor has noted the process: one that was never noted never begins. Its
end-of-file means that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from gnomon import settings_reading
from gnomon.app import descriptors
from gnomon.app.machine import UMASK, set_up_logging
from gnomon.errors import exhaustion
from gnomon.settings import Settings

VARIABLE = "GNOMON_CHILD"
# AES-256.
KEY_BYTES = 32
# How often a lock that another life still holds is tried, in seconds.
_LOOK_S = 0.05

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Hand:
    """`listener` is a listening socket's descriptor (-1: none), `lifetime` the pipe's read end,
    `heartbeat` the write end of a router's own pipe; `relieves`: routers of a former life serve on
    the listener until this one does.
    """

    settings: str
    lifetime: int
    listener: int = -1
    heartbeat: int = -1
    slot: int = 0
    relieves: bool = False

    def encode(self) -> str:
        return json.dumps(asdict(self))

    def decoded(self) -> Settings:
        return settings_reading.decode(self.settings)


@dataclass(frozen=True)
class Orders:
    """How a process is told to end: `drain` by SIGTERM, `orphaned` by the supervisor's absence.

    `key` seals what routers keep on disk and nobody else is to read.
    """

    drain: asyncio.Event
    orphaned: asyncio.Event
    key: bytes

    @property
    def are_given(self) -> bool:
        return self.drain.is_set() or self.orphaned.is_set()

    async def either(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self.drain, self.orphaned)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


@contextlib.asynccontextmanager
async def alone(lock: Path, orders: Orders) -> AsyncIterator[bool]:
    """Holds the lock for life: the one before may still be finishing, and is waited for.

    False if the orders to end come before that.
    """
    with lock.open("a") as file:
        is_ours = _try(file.fileno())
        if not is_ours:
            _LOG.info("waiting for the one before to end", lock=str(lock))
        while not is_ours and not orders.are_given:
            await asyncio.sleep(_LOOK_S)
            is_ours = _try(file.fileno())
        yield is_ours


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run_child(
    name: str,
    main: Callable[[Settings, Hand, Orders], Coroutine[Any, Any, None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Runs one process of Gnomon's to its end."""
    hand, key = take_hand(name)
    settings = hand.decoded()
    set_up_logging(name, settings.server.log_level)

    async def with_orders() -> None:
        loop = asyncio.get_running_loop()
        orders = Orders(asyncio.Event(), asyncio.Event(), key)
        # A terminal's Ctrl-C is the supervisor's to hear; it ends its processes in order.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, orders.drain.set)
        loop.add_reader(hand.lifetime, _read_lifetime, loop, hand.lifetime, orders.orphaned)
        loop.set_exception_handler(descriptors.handle)
        watching = loop.create_task(descriptors.watch())
        try:
            await main(settings, hand, orders)
        finally:
            watching.cancel()

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(with_orders())
    except Exception as error:
        exhausted = exhaustion(error)
        if exhausted is None:
            raise
        # The supervisor begins it anew, again and again.
        _LOG.error("it cannot go on, and is begun again", reason=str(exhausted))
        sys.exit(1)


def take_hand(name: str) -> tuple[Hand, bytes]:
    """What the supervisor handed over, and the sealing key: with these the process begins."""
    try:
        hand = Hand(**json.loads(os.environ.pop(VARIABLE)))
    except (KeyError, ValueError, TypeError):
        sys.exit(f"gnomon {name} is started by `gnomon up`, not by hand.")
    key = _read_key(hand.lifetime)
    os.umask(UMASK)
    return hand, key


def _read_key(lifetime: int) -> bytes:
    """Waits until the supervisor has noted this process; without one, nothing begins."""
    key = os.read(lifetime, KEY_BYTES)
    if len(key) < KEY_BYTES:
        sys.exit(0)
    return key


def _read_lifetime(
    loop: asyncio.AbstractEventLoop, descriptor: int, orphaned: asyncio.Event
) -> None:
    if not os.read(descriptor, 4096):
        loop.remove_reader(descriptor)
        orphaned.set()
