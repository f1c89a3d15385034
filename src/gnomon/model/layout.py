"""Where things lie in a data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    def control_socket(self) -> Path:
        """Where routers pass to control what is not an endpoint's."""
        return self.root / "control.sock"

    @property
    def tls(self) -> Path:
        """What `gnomon tls init` makes."""
        return self.root / "tls"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def keys_file(self) -> Path:
        """Keys of the local key service; nobody else's to read."""
        return self.root / "keys.json"

    @property
    def volumes_id(self) -> Path:
        """What the directory of models in memory is named by."""
        return self.root / "volumes-id"

    @property
    def seaweedfs(self) -> Path:
        """What the SeaweedFS beside keeps."""
        return self.root / "seaweedfs"

    @property
    def seaweedfs_log(self) -> Path:
        return self.logs / "seaweedfs.log"

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

    def handover_socket(self, pid: int) -> Path:
        """Where the router with this process id hands its listening socket to a new supervisor.

        By process, not by slot: of several lives each router is to be found.
        """
        return self.root / "routers" / f"{pid}.sock"

    @property
    def handover_sockets(self) -> list[Path]:
        """Of all routers that are, and of those that were killed."""
        return list((self.root / "routers").glob("*.sock"))
