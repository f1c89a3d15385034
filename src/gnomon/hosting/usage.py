"""What instances use of the machine: CPU, memory, disk, and GPUs where there are any.

All processes of an instance's session together. Rates and percentages are made of it in
`gnomon.control.utilization`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from gnomon.hosting.gpu import Gpus
from gnomon.hosting.host import GpuUse, Usage
from gnomon.hosting.memory import used_bytes
from gnomon.hosting.session import Leader, ProcessStat, is_stranger, processes


def of(directories: Mapping[Leader, Path], gpus: Gpus | None, at_s: float) -> dict[Leader, Usage]:
    """What each session uses now; `directories` are those of the instances. Those that have ended
    are left out. Memory is counted as a limit counts it (`gnomon.hosting.memory`).
    """
    members: defaultdict[int, list[ProcessStat]] = defaultdict(list)
    for process in processes():
        members[process.session].append(process)
    on_gpus = None if gpus is None else gpus.by_process()
    found = {}
    for leader, directory in directories.items():
        session = members[leader.pid]
        if all(process.is_zombie for process in session) or is_stranger(leader):
            continue
        with contextlib.suppress(FileNotFoundError):
            found[leader] = Usage(
                at_s=at_s,
                cpu_s=sum(process.cpu_s for process in session),
                memory_bytes=sum(map(used_bytes, session)),
                disk_percent=_disk_percent(directory),
                gpu=None if on_gpus is None else _sum(_of_session(session, on_gpus)),
            )
    return found


def _disk_percent(directory: Path) -> float:
    """As df(1) has it: what only root may still use counts as neither."""
    disk = shutil.disk_usage(directory)
    usable = disk.used + disk.free
    return 100 * disk.used / usable if usable else 0.0


def _of_session(
    session: list[ProcessStat], on_gpus: Mapping[int, list[GpuUse]]
) -> Iterator[GpuUse]:
    for process in session:
        yield from on_gpus.get(process.pid, ())


def _sum(parts: Iterator[GpuUse]) -> GpuUse:
    whole = list(parts)
    return GpuUse(
        sum(part.compute_percent for part in whole), sum(part.memory_percent for part in whole)
    )
