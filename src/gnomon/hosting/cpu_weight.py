"""The lower CPU weight of shadow instances, and what of it is in force on this machine.

`gnomon.hosting.launcher` takes it on; it cannot be given back without the right to, so that an
instance keeps it for life.
"""

from __future__ import annotations

from pathlib import Path

# A tenth of the weight of nice 0 (sched(7): each step is about 1.25).
LIGHT_NICE = 10

_AUTOGROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")


def in_force(switch: Path = _AUTOGROUPS) -> str:
    """What holds shadow instances back here, in words."""
    try:
        grouped = switch.read_text().strip() == "1"
    except OSError:
        grouped = False
    return f"nice {LIGHT_NICE}, also of the autogroup" if grouped else f"nice {LIGHT_NICE}"
