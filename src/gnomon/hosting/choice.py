"""One host for control: whatever runs an instance, by the runtime that its image asks for."""

from collections.abc import Collection, Mapping

from gnomon.hosting.external import ExternalHost
from gnomon.hosting.host import Host, InstanceSpec, Observation, Started, Usage
from gnomon.hosting.servers import External


class HostByRuntime:
    """Implements `gnomon.hosting.host.Host`.

    An instance belongs to the host that started or adopted it; one that nobody knows is the
    processes', who can say for certain that nothing of it runs.
    """

    def __init__(self, processes: Host, external: ExternalHost) -> None:
        self._processes = processes
        self._external = external

    async def start(self, spec: InstanceSpec) -> Started:
        host = self._external if isinstance(spec.runtime, External) else self._processes
        return await host.start(spec)

    async def observe(self, instance_id: str) -> Observation:
        return await self._host_of(instance_id).observe(instance_id)

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        # An external server's memory is its own matter.
        return await self._processes.over_memory(limits)

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:
        return await self._processes.usage(instance_ids)

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:
        await self._host_of(instance_id).stop(instance_id, at_once=at_once)

    async def adopt(self, instance_id: str) -> bool:
        return await self._external.adopt(instance_id) or await self._processes.adopt(instance_id)

    async def close(self) -> None:
        await self._external.close()
        await self._processes.close()

    def _host_of(self, instance_id: str) -> Host:
        return self._external if self._external.holds(instance_id) else self._processes
