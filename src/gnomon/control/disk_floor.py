"""What must stay free on the data directory's disk before control begins anything new.

What already runs needs room too: databases, metrics, instances' logs. The routers' spools have the
same floor (`gnomon.spool.writer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gnomon.errors import DiskNearlyFull


@dataclass(frozen=True)
class DiskFloor:
    """`free_bytes` asks the disk, and may wait for it."""

    directory: Path
    min_free_bytes: int
    free_bytes: Callable[[Path], int]

    async def shortage(self) -> DiskNearlyFull | None:
        """What to say if too little is free."""
        free = await asyncio.to_thread(self.free_bytes, self.directory)
        if free >= self.min_free_bytes:
            return None
        return DiskNearlyFull(self.directory, free, self.min_free_bytes)

    async def check(self) -> None:
        """Raises DiskNearlyFull if too little is free."""
        found = await self.shortage()
        if found is not None:
            raise found
