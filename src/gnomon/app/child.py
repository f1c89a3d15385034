"""What the supervisor hands to a process that it starts, and how the process takes it.

It goes through one environment variable: settings, the inherited descriptors, and the slot of a
router. The lifetime pipe's write end is the supervisor's: its end-of-file means that the
supervisor is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from gnomon import settings as settings_module
from gnomon.app.machine import set_up_logging
from gnomon.settings import Settings

VARIABLE = "GNOMON_CHILD"


@dataclass(frozen=True)
class Hand:
    """`listener` is a listening socket's descriptor (-1: none), `lifetime` the pipe's read end."""

    settings: str
    lifetime: int
    listener: int = -1
    slot: int = 0

    def encode(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Orders:
    """How a process is told to end: `drain` by SIGTERM, `orphaned` by the supervisor's absence."""

    drain: asyncio.Event
    orphaned: asyncio.Event

    async def either(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self.drain, self.orphaned)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def run_child(
    name: str,
    main: Callable[[Settings, Hand, Orders], Coroutine[Any, Any, None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Runs one process of Gnomon's to its end."""
    try:
        hand = Hand(**json.loads(os.environ.pop(VARIABLE)))
    except (KeyError, ValueError, TypeError):
        sys.exit(f"gnomon {name} is started by `gnomon up`, not by hand.")
    settings = settings_module.decode(hand.settings)
    set_up_logging(name, settings.server.log_level)

    async def with_orders() -> None:
        loop = asyncio.get_running_loop()
        orders = Orders(asyncio.Event(), asyncio.Event())
        # A terminal's Ctrl-C is the supervisor's to hear; it ends its processes in order.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, orders.drain.set)
        loop.add_reader(hand.lifetime, _read_lifetime, loop, hand.lifetime, orders.orphaned)
        await main(settings, hand, orders)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(with_orders())


def _read_lifetime(
    loop: asyncio.AbstractEventLoop, descriptor: int, orphaned: asyncio.Event
) -> None:
    if not os.read(descriptor, 4096):
        loop.remove_reader(descriptor)
        orphaned.set()
