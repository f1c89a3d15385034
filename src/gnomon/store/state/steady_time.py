"""What makes steady time: how far it is ahead of the monotonic clock in this run of the machine."""

from __future__ import annotations

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.store.state.tables import boots, instances


async def offset_s(
    connection: AsyncConnection, boot_id: str, now_s: float, monotonic_s: float
) -> float:
    """Steady time (`gnomon.model.clock`) less the monotonic clock, the same for every control.

    In a new run of the machine steady time begins at the clock's, and not before what is on record.
    """
    known = select(boots.c.steady_offset_s).where(boots.c.boot_id == boot_id)
    found = (await connection.execute(known)).scalar()
    if found is not None:
        return float(found)
    last = select(func.max(instances.c.created_at_s), func.max(instances.c.ended_at_s))
    created_s, ended_s = (await connection.execute(last)).one()
    begins_s = max(now_s, created_s or 0.0, ended_s or 0.0)
    await connection.execute(
        insert(boots).values(boot_id=boot_id, steady_offset_s=begins_s - monotonic_s)
    )
    return begins_s - monotonic_s
