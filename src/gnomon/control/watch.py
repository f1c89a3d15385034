"""Something that control looks at again and again, beside its loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from gnomon.errors import exhaustion

_LOG = structlog.get_logger(__name__)


class Watch:
    """One look after another, until `close`. It is never cancelled: see `InstanceKeeper`.

    `what` is looked at, for the log. A look that fails is followed by the next: what the machine is
    out of is said once, until a look succeeds.
    """

    def __init__(self, what: str, every_s: float, look: Callable[[], Awaitable[None]]) -> None:
        self._what = what
        self._every_s = every_s
        self._look = look
        self._closing = asyncio.Event()
        self._said = ""

    def close(self) -> None:
        """Ends `run` after the look that it is in."""
        self._closing.set()

    async def run(self) -> None:
        while not self._closing.is_set():
            await self.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every_s)

    async def once(self) -> None:
        """One look. Never raises."""
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - a look ends here
            exhausted = exhaustion(error)
            if exhausted is None:
                _LOG.exception("a look failed", at=self._what)
            elif str(exhausted) != self._said:
                self._said = str(exhausted)
                _LOG.warning("something is not watched now", what=self._what, reason=self._said)
        else:
            self._said = ""
