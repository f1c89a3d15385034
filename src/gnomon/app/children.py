"""One process of Gnomon's, as its supervisor holds it: its pipes, its identity, its deaths.

Its counterpart in the process itself is `gnomon.app.child`. When it is started again is the
supervisor's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field

from gnomon import settings_reading
from gnomon.app.child import VARIABLE, Hand
from gnomon.app.heartbeat import Heartbeat
from gnomon.cli import former
from gnomon.cli.running import Process
from gnomon.hosting import session
from gnomon.settings import Settings


@dataclass
class Child:
    """One process that is kept running; `deaths` are the monotonic times of its last ones.

    `identity` is None while it is not known to have come up.
    """

    name: str
    module: str
    slot: int = 0
    listener: int = -1
    heartbeat: Heartbeat | None = None
    process: asyncio.subprocess.Process | None = None
    identity: Process | None = None
    lifetime: int = -1
    deaths: list[float] = field(default_factory=list)

    @property
    def is_router(self) -> bool:
        return self.listener >= 0

    @property
    def is_store(self) -> bool:
        return self.name == former.STORE

    async def start(self, settings: Settings, *, relieves: bool) -> None:
        """Starts the process, which waits for its key. Raises OSError."""
        reading, self.lifetime = os.pipe()
        descriptors = [reading]
        beats = -1
        try:
            if self.is_router:
                heard, beats = os.pipe()
                self.heartbeat = Heartbeat(heard, asyncio.get_running_loop().time())
                descriptors += [self.listener, beats]
            hand = Hand(
                settings=settings_reading.encode(settings),
                lifetime=reading,
                listener=self.listener,
                heartbeat=beats,
                slot=self.slot,
                relieves=relieves,
            )
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                pass_fds=descriptors,
                env={**os.environ, VARIABLE: hand.encode()},
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reading)
            if beats >= 0:
                os.close(beats)
        seen = session.stat(self.process.pid)
        self.identity = (
            Process(self.name, seen.pid, seen.start_ticks, session.boot_id()) if seen else None
        )

    def let_begin(self, key: bytes) -> None:
        """Hands it its key, if it still lives."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.lifetime, key)

    def terminate(self) -> None:
        """Asks it to end, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def kill(self) -> None:
        """Ends it, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def hang_up(self) -> None:
        """Closes this side's ends of its pipes: if it runs, its supervisor is gone for it."""
        if self.lifetime >= 0:
            os.close(self.lifetime)
            self.lifetime = -1
        if self.heartbeat is not None:
            self.heartbeat.close()
            self.heartbeat = None
