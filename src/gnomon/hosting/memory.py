"""What instances use of the machine's memory.

As much as a container of that size would be charged for and could not give back: pages of files
that are only mapped are the kernel's to drop, and a page that processes share counts once, as with
a model that is loaded before its server forks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from gnomon.hosting.session import Leader, ProcessStat, is_stranger, processes

# Of proc(5)'s smaps_rollup, in KiB: what the processes that share a page have of it each.
_COUNTED = (b"Pss_Anon:", b"Pss_Shmem:")
_KIB = 1024


def over(limits: Mapping[Leader, int]) -> dict[Leader, int]:
    """The sessions that use more than their limit (bytes), with what they use.

    The exact figure costs a walk through all of a process's pages, and is asked for only where
    the coarse one, which is never lower, is over the limit.
    """
    members: defaultdict[int, list[ProcessStat]] = defaultdict(list)
    for process in processes():
        members[process.session].append(process)
    found = {}
    for leader, limit in limits.items():
        session = members[leader.pid]
        if sum(process.resident_bytes for process in session) <= limit or is_stranger(leader):
            continue
        used = sum(map(used_bytes, session))
        if used > limit:
            found[leader] = used
    return found


def used_bytes(process: ProcessStat) -> int:
    """What one process counts for; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_bytes().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError:
        # It has taken on other rights than Gnomon's.
        return process.resident_bytes
    return sum(int(line.split()[1]) * _KIB for line in lines if line.startswith(_COUNTED))
