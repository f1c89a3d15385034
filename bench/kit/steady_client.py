"""A client at a steady rate that counts: load generators drop the last requests of a run uncounted.

Each connection sends its next request when its time has come, or at once if the answer before it
came late: what falls behind is made up for, so that the rate holds over the run.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

_HOST = "127.0.0.1"
_CONNECTIONS = 16
# A body of each length (bytes) and its share: a few are long enough to be cut in a pair.
_BODIES = {200: 0.9, 8 * 1024: 0.08, 96 * 1024: 0.02}
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


@dataclass
class SteadyClient:
    """Asks one endpoint. `statuses` counts the answers, those that never came under 0."""

    port: int
    endpoint_name: str
    rate_per_s: float
    random: Random
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return self.statuses.total()

    async def run(self, duration_s: float) -> None:
        began_s = time.monotonic()
        await asyncio.gather(
            *(self._keep_asking(number, began_s, duration_s) for number in range(_CONNECTIONS))
        )

    async def _keep_asking(self, number: int, began_s: float, duration_s: float) -> None:
        interval_s = _CONNECTIONS / self.rate_per_s
        due_s = began_s + interval_s * number / _CONNECTIONS
        reader, writer = await asyncio.open_connection(_HOST, self.port)
        while due_s < began_s + duration_s:
            await asyncio.sleep(due_s - time.monotonic())
            due_s += interval_s
            (length,) = self.random.choices(tuple(_BODIES), tuple(_BODIES.values()))
            try:
                self.statuses[await self._ask(reader, writer, length)] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                self.statuses[0] += 1
                writer.close()
                reader, writer = await asyncio.open_connection(_HOST, self.port)
        writer.close()
        await writer.wait_closed()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int
    ) -> int:
        writer.write(
            b"POST /endpoints/%b/invocations HTTP/1.1\r\nHost: bench\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%b"
            % (self.endpoint_name.encode(), length, b"x" * length)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(head)
        if found is None:
            raise ConnectionError("an answer without a length")
        await reader.readexactly(int(found[1]))
        return int(head[9:12])
