"""A host without processes, for tests of what drives one.

It passes the same contract suite as `gnomon.hosting.process` (tests/hosting/test_host_contract.py).
What outlives a control is a `FakeMachine`; each `FakeHost` on it is one control's life.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field

from gnomon.hosting.host import (
    Exited,
    GpuUse,
    InstanceNotStarted,
    InstanceSpec,
    Observation,
    Running,
    Started,
    Usage,
)

# Below any port that something real listens on by chance.
_FIRST_PORT = 1

_SIGTERM_STATUS = -15
_SIGKILL_STATUS = -9


@dataclass
class FakeInstance:
    """One instance as the machine has it. `status` is None while it runs."""

    spec: InstanceSpec
    started: Started
    status: int | None = None
    ping_status: int = 200
    # Of memory, as long as it runs.
    used_bytes: int = 1024**2
    # Of the CPU, since its start.
    cpu_s: float = 0.0
    gpu: GpuUse | None = None
    server: asyncio.Server | None = None
    connections: set[asyncio.StreamWriter] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class FakeMachine:
    """Instances by id, and the script of what goes wrong.

    With `listens`, each instance has a real socket that answers a POST with the body sent, and
    every other request with its `ping_status`; otherwise its port is a number and no more.
    `refusals` are reasons for which the next starts fail. While `may_stop` is clear, instances
    ignore that they are to end.
    """

    listens: bool = False
    instances: dict[str, FakeInstance] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    # What instances that start from now on answer a ping with.
    first_ping_status: int = 200
    may_stop: asyncio.Event = field(default_factory=asyncio.Event)
    # Every start that was carried out, in order.
    starts: list[InstanceSpec] = field(default_factory=list)
    # Every body that was sent back, with the instance that did, in order.
    answers: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_stop.set()

    def running(self) -> set[str]:
        """The ids of the instances that run."""
        return {name for name, instance in self.instances.items() if instance.status is None}

    def end(self, instance_id: str, status: int) -> None:
        """The instance exits by itself."""
        instance = self.instances[instance_id]
        instance.status = status
        instance.ended.set()
        if instance.server is not None:
            instance.server.close()
        for connection in list(instance.connections):
            connection.transport.abort()

    async def run(self, spec: InstanceSpec) -> Started:
        if self.refusals:
            raise InstanceNotStarted(spec.instance_id, self.refusals.pop(0))
        self.starts.append(spec)
        server = None
        port = _FIRST_PORT + len(self.starts)
        if self.listens:
            server = await self._listen(spec.instance_id)
            port = server.sockets[0].getsockname()[1]
        started = Started("127.0.0.1", port, keep_alive_s=1.0)
        self.instances[spec.instance_id] = FakeInstance(
            spec, started, ping_status=self.first_ping_status, server=server
        )
        return started

    async def _listen(self, instance_id: str) -> asyncio.Server:
        listening = asyncio.ensure_future(
            asyncio.start_server(
                lambda reader, writer: self._answer(instance_id, reader, writer), "127.0.0.1"
            )
        )
        try:
            return await asyncio.shield(listening)
        except asyncio.CancelledError:
            # Nobody is told of it any more.
            listening.add_done_callback(lambda done: done.result().close())
            raise

    async def _answer(
        self, instance_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        instance = self.instances[instance_id]
        instance.connections.add(writer)
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"POST "):
                body = await reader.readexactly(_content_length(head))
                self.answers.append((instance_id, body))
                writer.write(b"HTTP/1.1 200 Fake\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
            writer.write(
                b"HTTP/1.1 %d Fake\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                % instance.ping_status
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            instance.connections.discard(writer)
            writer.close()

    @contextlib.asynccontextmanager
    async def closing(self) -> AsyncIterator["FakeMachine"]:
        """Ends every instance when the block ends."""
        try:
            yield self
        finally:
            for instance_id in self.running():
                self.end(instance_id, 0)


class FakeHost:
    """Implements `gnomon.hosting.host.Host`."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        # Of these this host sees the exit status; of others it is unknown, as for real processes.
        self._own: set[str] = set()

    async def start(self, spec: InstanceSpec) -> Started:
        if spec.instance_id in self.machine.running():
            return self.machine.instances[spec.instance_id].started
        started = await self.machine.run(spec)
        self._own.add(spec.instance_id)
        return started

    async def observe(self, instance_id: str) -> Observation:
        if instance_id in self.machine.running():
            return Running()
        if instance_id in self._own:
            return Exited(self.machine.instances[instance_id].status)
        return Exited(None)

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        used = {name: self.machine.instances[name].used_bytes for name in self.machine.running()}
        return {name: used[name] for name, limit in limits.items() if used.get(name, 0) > limit}

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:
        now_s = time.monotonic()
        running = {name: self.machine.instances[name] for name in self.machine.running()}
        return {
            name: Usage(
                now_s, running[name].cpu_s, running[name].used_bytes, 50.0, running[name].gpu
            )
            for name in instance_ids
            if name in running
        }

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:
        if instance_id not in self.machine.running():
            return
        if at_once:
            self.machine.end(instance_id, _SIGKILL_STATUS)
            return
        waits = [
            asyncio.create_task(event.wait())
            for event in (self.machine.may_stop, self.machine.instances[instance_id].ended)
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if instance_id in self.machine.running():
            self.machine.end(instance_id, _SIGTERM_STATUS)

    async def adopt(self, instance_id: str) -> bool:
        return instance_id in self.machine.running()

    async def close(self) -> None:
        self._own.clear()


def _content_length(head: bytes) -> int:
    return next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
