"""NVML without a GPU: the part of the module `pynvml` that `gnomon.hosting.gpu` uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


class FakeNVMLError(Exception):
    """What every call raises that has nothing to tell."""


@dataclass(frozen=True)
class FakeSample:
    pid: int
    timeStamp: int  # noqa: N815 - NVML's own names
    smUtil: int  # noqa: N815


@dataclass(frozen=True)
class FakeProcess:
    pid: int
    usedGpuMemory: int | None  # noqa: N815


@dataclass(frozen=True)
class FakeMemory:
    total: int


@dataclass
class FakeDevice:
    """One GPU: its memory in bytes, who uses it, and all samples of its use so far."""

    total: int
    running: list[FakeProcess] = field(default_factory=list)
    samples: list[FakeSample] = field(default_factory=list)


@dataclass
class FakeNvml:
    """Implements `gnomon.hosting.gpu.Nvml`; without a driver nothing begins."""

    devices: list[FakeDevice] = field(default_factory=list)
    has_driver: bool = True
    NVMLError: type[Exception] = FakeNVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.has_driver:
            raise FakeNVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeDevice:  # noqa: N802
        return self.devices[index]

    def nvmlDeviceGetMemoryInfo(self, handle: FakeDevice) -> FakeMemory:  # noqa: N802
        return FakeMemory(handle.total)

    def nvmlDeviceGetComputeRunningProcesses(  # noqa: N802
        self, handle: FakeDevice
    ) -> Sequence[FakeProcess]:
        return handle.running

    def nvmlDeviceGetProcessUtilization(  # noqa: N802
        self,
        handle: FakeDevice,
        timeStamp: int,  # noqa: N803
    ) -> Sequence[FakeSample]:
        if all(sample.timeStamp <= timeStamp for sample in handle.samples):
            raise FakeNVMLError("Not Found")
        # As real ones do, it hands out its whole buffer, with samples of before and empty ones.
        return [*handle.samples, FakeSample(0, 0, 0)]
