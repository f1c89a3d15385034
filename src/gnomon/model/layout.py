"""Where things lie in a data directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Linux's bound on the path of a Unix socket, in bytes (unix(7)), without the closing zero.
_MAX_SOCKET_PATH_BYTES = 107
# For the longest path that can come to be.
_MOST_ROUTERS = 999


@dataclass(frozen=True)
class Layout:
    """Paths below one data directory; nothing here makes them."""

    root: Path

    @property
    def running_file(self) -> Path:
        """What runs, for the CLI and for scripts: there once everything answers."""
        return self.root / "gnomon.json"

    @property
    def supervisor_lock(self) -> Path:
        return self.root / "supervisor.lock"

    @property
    def state_file(self) -> Path:
        return self.root / "state.db"

    @property
    def telemetry_file(self) -> Path:
        return self.root / "telemetry.db"

    @property
    def feed_socket(self) -> Path:
        return self.root / "feed.sock"

    @property
    def excess_bytes(self) -> int:
        """By how much the root's path is too long for a socket in it; at most 0 is well."""
        longest = self.handover_socket(_MOST_ROUTERS)
        return len(os.fsencode(longest)) - _MAX_SOCKET_PATH_BYTES

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def instance_log(self, instance_id: str) -> Path:
        """What an instance printed."""
        return self.logs / "instances" / f"{instance_id}.log"

    def snapshot(self, slot: int) -> Path:
        """The last routing snapshot of the router in a slot."""
        return self.root / "routers" / f"{slot}.snapshot"

    def handover_socket(self, slot: int) -> Path:
        """Where the router in a slot hands its listening socket to a new supervisor."""
        return self.root / "routers" / f"{slot}.sock"
