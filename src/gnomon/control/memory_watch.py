"""Ends instances that use more memory than they may, before the machine has none left for others.

The kernel would choose by itself whom to kill, and it may choose production. How much an instance
uses is its host's to say; its end is recorded by the keeper.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gnomon.control.keeper import InstanceKeeper
from gnomon.hosting.host import Host
from gnomon.model import instance_types
from gnomon.model.records import InstanceRecord
from gnomon.settings import HostingSettings

# How often memory is looked at, in seconds: a model that fills it at 1 GB/s is seen within 1 GB.
LOOK_S = 1.0

_MIB = 1024 * 1024


@dataclass(frozen=True)
class MemoryLimit:
    """`whose` says where it comes from, `advice` what to do for whom it is too low."""

    limit_bytes: int
    whose: str
    advice: str


def memory_limit(instance_type: str, settings: HostingSettings) -> MemoryLimit | None:
    """What an instance of this type may use; None where its type's memory is not known. Pure."""
    if settings.memory_limit_bytes:
        return MemoryLimit(
            settings.memory_limit_bytes,
            "of hosting.memory_limit_bytes",
            "raise that setting, or have the model use less",
        )
    limit_bytes = instance_types.memory_bytes(instance_type)
    if limit_bytes is None:
        return None
    return MemoryLimit(
        limit_bytes,
        f"of an {instance_type}",
        "choose a larger instance type, or set hosting.memory_limit_bytes",
    )


def sentence(record: InstanceRecord, used_bytes: int, limit: MemoryLimit) -> str:
    """Why the instance was ended, and what to do. Pure."""
    return (
        f"The instance {record.id} of the variant {record.variant_name} used "
        f"{-(-used_bytes // _MIB):,} MiB of memory, more than the {limit.limit_bytes // _MIB:,} "
        f"MiB {limit.whose}, and was ended: {limit.advice}."
    )


class MemoryWatch:
    """What a `Watch` looks at each LOOK_S seconds."""

    def __init__(self, host: Host, keeper: InstanceKeeper, settings: HostingSettings) -> None:
        self._host = host
        self._keeper = keeper
        self._settings = settings

    async def look(self) -> None:
        kept = {record.id: record for record in self._keeper.kept()}
        limits = {
            id_: limit
            for id_, record in kept.items()
            if (limit := memory_limit(record.spec.instance_type, self._settings)) is not None
        }
        if not limits:
            return
        over = await self._host.over_memory(
            {id_: limit.limit_bytes for id_, limit in limits.items()}
        )
        await asyncio.gather(
            *(
                self._keeper.condemn(id_, sentence(kept[id_], used_bytes, limits[id_]))
                for id_, used_bytes in over.items()
            )
        )
