"""What processes use of the machine's NVIDIA GPUs, by NVML. Its one adapter: `pynvml`, of the extra
`gpu`.

By process, since instances share GPUs here: a device's own figure would count every neighbour.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from gnomon.hosting.host import GpuUse

_US = 1_000_000
_LOG = structlog.get_logger(__name__)


class Nvml(Protocol):
    """What is used of the module `pynvml`; a handle stands for a device."""

    # A class of exceptions; some drivers and devices lack one figure or the other.
    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802 - NVML's own names
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        """With `total`, in bytes."""

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Sequence[Any]:  # noqa: N802
        """Each with `pid` and `usedGpuMemory`, in bytes or None."""

    def nvmlDeviceGetProcessUtilization(  # noqa: N802
        self,
        handle: Any,
        timeStamp: int,  # noqa: N803
    ) -> Sequence[Any]:
        """Samples since a time (microseconds of the epoch), each with `pid`, `timeStamp` and
        `smUtil`, in percent. Raises NVMLError where there are none.
        """


class Gpus:
    """The machine's GPUs. Used from one thread."""

    def __init__(self, nvml: Nvml, now_us: int) -> None:
        self._nvml = nvml
        self._devices = [
            nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())
        ]
        # Until when samples have been read.
        self._seen_us = [now_us] * len(self._devices)

    def by_process(self) -> dict[int, list[GpuUse]]:
        """Pid to what the process uses of each device, on average since the last look."""
        found: defaultdict[int, list[GpuUse]] = defaultdict(list)
        for index, device in enumerate(self._devices):
            for pid, percents in self._compute(index, device).items():
                found[pid].append(GpuUse(compute_percent=sum(percents) / len(percents)))
            for pid, percent in self._memory(device).items():
                found[pid].append(GpuUse(memory_percent=percent))
        return found

    def _compute(self, index: int, device: Any) -> dict[int, list[float]]:
        found: defaultdict[int, list[float]] = defaultdict(list)
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(device, self._seen_us[index])
        except self._nvml.NVMLError:
            # Nothing ran since, or the device does not tell.
            return found
        since_us = self._seen_us[index]
        for sample in samples:
            # NVML fills up with samples of before, and of no process.
            if sample.pid and sample.timeStamp > since_us:
                found[sample.pid].append(float(sample.smUtil))
                self._seen_us[index] = max(self._seen_us[index], sample.timeStamp)
        return found

    def _memory(self, device: Any) -> dict[int, float]:
        try:
            total = self._nvml.nvmlDeviceGetMemoryInfo(device).total
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(device)
        except self._nvml.NVMLError:
            return {}
        return {
            process.pid: 100 * process.usedGpuMemory / total
            for process in running
            if process.usedGpuMemory and total
        }


def load() -> Gpus | None:
    """The machine's GPUs; None where there is none, no driver, or no `pynvml`."""
    try:
        import pynvml  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return of(pynvml)


def of(nvml: Nvml) -> Gpus | None:
    """The same through a given NVML."""
    try:
        nvml.nvmlInit()
        gpus = Gpus(nvml, int(time.time() * _US)) if nvml.nvmlDeviceGetCount() else None
    except nvml.NVMLError as error:
        _LOG.info("no GPU is measured", reason=str(error))
        return None
    return gpus
