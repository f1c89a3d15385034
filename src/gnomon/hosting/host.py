"""What starts and stops instances: the interface that control's reconcilers drive.

One implementation a runtime: local processes in `gnomon.hosting.process`, servers that run already
in `gnomon.hosting.external`, a scripted one in `gnomon.testing.fake_host`; all pass one contract
suite. Health is asked elsewhere (`gnomon.hosting.health`): a host knows whether an instance runs,
not whether it is well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gnomon.errors import GnomonError
from gnomon.hosting.images import Runtime


@dataclass(frozen=True)
class InstanceSpec:
    """One instance as it is wanted.

    `model_dir` holds the unpacked archive and is `<base>/model`; `environment` is the user's, of
    CreateModel; `threads` is how many each numeric library of the instance may start. `count` is
    how many instances like it are wanted, and `group` tells those from all others. A `light` one
    has a lower CPU weight, for as long as it runs.
    """

    instance_id: str
    endpoint_name: str
    variant_name: str
    runtime: Runtime
    model_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    count: int = 1
    group: str = ""
    light: bool = False


@dataclass(frozen=True)
class Started:
    """Where a started instance will answer, as soon as it is healthy.

    `keep_alive_s`: at least so long its server keeps an idle connection. `headers` are set on
    every request to it.
    """

    host: str
    port: int
    keep_alive_s: float
    ping_path: str = "/ping"
    invocation_path: str = "/invocations"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Running:
    """The instance, or what starts it, is alive."""


@dataclass(frozen=True)
class Exited:
    """No process of the instance is left.

    `status` is the exit status, negative for a signal; None is unknown: an instance that another
    control began, or one that this host has never heard of.
    """

    status: int | None


Observation = Running | Exited


@dataclass(frozen=True)
class GpuUse:
    """Of the machine's GPUs: 100 percent is the whole of one."""

    compute_percent: float = 0.0
    memory_percent: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What all processes of an instance use of the machine, as of `at_s` (monotonic).

    `cpu_s` is the CPU time that they have had so far; what ended without having been waited for is
    missing. `disk_percent` is how full the disk is that the instance's directory lies on. `gpu` is
    None on a machine without GPUs.
    """

    at_s: float
    cpu_s: float
    memory_bytes: int
    disk_percent: float
    gpu: GpuUse | None = None


class InstanceNotStarted(GnomonError):
    """The machine could not start the instance; nothing of it runs."""

    def __init__(self, instance_id: str, reason: str) -> None:
        self.instance_id = instance_id
        self.reason = reason
        super().__init__(f"The instance {instance_id} could not be started: {reason}.")


class Host(Protocol):
    """Starts, watches and ends instances. Every method may be repeated safely."""

    async def start(self, spec: InstanceSpec) -> Started:
        """Start the instance; if it runs already, say where. Raises InstanceNotStarted.

        An instance that has exited is started again, under the same id.
        """
        ...

    async def observe(self, instance_id: str) -> Observation:
        """What the instance does now. Cheap: a reconciler asks every instance at every pass."""
        ...

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        """Which of these instances (by id, with their limits in bytes) use more, and how much."""
        ...

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:
        """What these instances use now; none of those that do not run here."""
        ...

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:
        """Ask the instance to end, force it after the time limit, and return when it has ended.

        `at_once` forces it now, also if it was asked before. Calls for several instances go on
        side by side. A caller that is cancelled leaves the stopping to go on.
        """
        ...

    async def adopt(self, instance_id: str) -> bool:
        """Watch an instance that another control began: True if it runs.

        If False, it is certain not to come up later: a launcher that is still on its way ends.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. Instances run on."""
        ...
