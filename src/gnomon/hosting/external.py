"""Instances that are servers which run already: claimed, watched, and let go.

An instance here is a claim on one URL of its image's table (`gnomon.hosting.servers`), kept in
`instances/<id>/external` so that it survives control. Nothing is started and nothing stopped;
whether a server is well is asked by ping, as for any instance, and one that is gone for a while is
an instance whose pings fail.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from gnomon.hosting.host import (
    Exited,
    InstanceNotStarted,
    InstanceSpec,
    Observation,
    Running,
    Started,
    Usage,
)
from gnomon.hosting.servers import External, Server


class Claim(msgspec.Struct, frozen=True):
    """That an instance is the server at `url`. Within a `group` each server is claimed once."""

    url: str
    group: str
    started: Started


class ExternalHost:
    """Implements `gnomon.hosting.host.Host` for the runtime `External`.

    `_claims` are those of the instances that this host has started or adopted; each has its file.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._claims: dict[str, Claim] = {}
        self._released = asyncio.Condition()
        # How many releases there were before a URL's last one: what was let go last, perhaps for
        # not answering, is taken last.
        self._releases = 0
        self._left: dict[str, int] = {}

    def holds(self, instance_id: str) -> bool:
        """Whether the instance is one of this host's."""
        return instance_id in self._claims

    async def start(self, spec: InstanceSpec) -> Started:
        """Claim a server. Waits while all are claimed: then one is on its way out of use."""
        runtime = spec.runtime
        assert isinstance(runtime, External), "other runtimes have hosts of their own"
        if spec.count > len(runtime.servers):
            raise InstanceNotStarted(
                spec.instance_id,
                f"{spec.count} instances are wanted, and {runtime.name} has "
                f"{len(runtime.servers)} in urls: each instance is one of these servers. Add "
                "urls, or lower the instance count",
            )
        async with self._released:
            while spec.instance_id not in self._claims:
                server = self._free(runtime, spec.group)
                if server is None:
                    await self._released.wait()
                    continue
                claim = Claim(server.url, spec.group, _started(runtime, server))
                try:
                    self._write(spec.instance_id, claim)
                except OSError as error:
                    raise InstanceNotStarted(spec.instance_id, str(error)) from error
                self._claims[spec.instance_id] = claim
            return self._claims[spec.instance_id].started

    async def observe(self, instance_id: str) -> Observation:
        return Running() if instance_id in self._claims else Exited(None)

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:  # noqa: ARG002
        """None: what a server that runs already uses is not Gnomon's to bound."""
        return {}

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:  # noqa: ARG002
        """None: such a server may be anywhere."""
        return {}

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:  # noqa: ARG002
        """Let go of the server, which runs on."""
        async with self._released:
            self._file(instance_id).unlink(missing_ok=True)
            claim = self._claims.pop(instance_id, None)
            if claim is not None:
                self._releases += 1
                self._left[claim.url] = self._releases
            self._released.notify_all()

    async def adopt(self, instance_id: str) -> bool:
        if instance_id not in self._claims:
            claim = self._read(instance_id)
            if claim is None:
                return False
            self._claims[instance_id] = claim
        return True

    async def close(self) -> None:
        self._claims.clear()

    def _free(self, runtime: External, group: str) -> Server | None:
        claimed = {claim.url for claim in self._claims.values() if claim.group == group}
        free = [server for server in runtime.servers if server.url not in claimed]
        return min(free, key=lambda server: self._left.get(server.url, 0), default=None)

    def _file(self, instance_id: str) -> Path:
        return self._data_dir / "instances" / instance_id / "external"

    def _write(self, instance_id: str, claim: Claim) -> None:
        path = self._file(instance_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        # Headers may hold a secret.
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(claim))
        fresh.replace(path)

    def _read(self, instance_id: str) -> Claim | None:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(self._file(instance_id).read_bytes(), type=Claim)
        return None


def _started(runtime: External, server: Server) -> Started:
    return Started(
        host=server.host,
        port=server.port,
        keep_alive_s=runtime.keep_alive_s,
        ping_path=server.base + runtime.ping_path,
        invocation_path=server.base + runtime.invocation_path,
        headers=runtime.headers,
    )
