"""Which router incarnations there are, which are dead, and whose records are all in.

Rows outlive this process: an incarnation that served while control was away still counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import msgspec

from gnomon.control.transactions import Transactions
from gnomon.hosting.session import boot_id, stat
from gnomon.model.records import IncarnationRecord
from gnomon.model.snapshot import Incarnation
from gnomon.store.state import routing


class RouterRegister:
    """`reached(barrier_id, capture_id)` and `finished(ids)` read the telemetry: the incarnations
    whose records before the barrier are in, those of the capture too, and those dead of whose spool
    nothing is left. `spooled` lists the incarnations that the spool has something of: one that
    served and died while control was away is known by that alone.
    """

    def __init__(
        self,
        transactions: Transactions,
        reached: Callable[[str, str | None], Awaitable[frozenset[str]]],
        finished: Callable[[Collection[str]], Awaitable[frozenset[str]]],
        spooled: Callable[[], Collection[str]],
    ) -> None:
        self._transactions = transactions
        self._reached = reached
        self._finished = finished
        self._spooled = spooled

    async def seen(self, incarnation: Incarnation) -> None:
        """An incarnation has reported for the first time since control's start."""
        async with self._transactions.call() as call:
            await routing.add_incarnation(
                call.connection,
                IncarnationRecord(
                    id=incarnation.id,
                    slot=incarnation.slot,
                    pid=incarnation.pid,
                    start_time=incarnation.start_time,
                    boot_id=incarnation.boot_id,
                    first_seen_s=call.now_s,
                ),
            )

    async def look(self) -> bool:
        """Notes which incarnations have died, and forgets those whose records are all in."""
        async with self._transactions.database.reading() as connection:
            known = await routing.incarnations(connection)
        changed: list[IncarnationRecord] = []
        died = [r for r in known if r.dead_since_s is None and not is_alive(r)]
        buried = [r for r in known if r.dead_since_s is not None]
        if buried:
            finished = await self._finished([r.id for r in buried])
            changed += [msgspec.structs.replace(r, gone=True) for r in buried if r.id in finished]
        if not died and not changed:
            return False
        async with self._transactions.call() as call:
            changed += [msgspec.structs.replace(r, dead_since_s=call.now_s) for r in died]
            for record in changed:
                await routing.put_incarnation(call.connection, record)
        return True

    async def missing(self, barrier_id: str, capture_id: str | None) -> int:
        """How many incarnations may still hold records from before this barrier, captured ones only
        if they are of this capture.
        """
        async with self._transactions.database.reading() as connection:
            known = await routing.incarnations(connection)
        # Listed first: what is read to its end meanwhile is among those that have reached it.
        ids = {record.id for record in known}.union(await asyncio.to_thread(self._spooled))
        return len(ids - await self._reached(barrier_id, capture_id))


def is_alive(record: IncarnationRecord) -> bool:
    """Whether this very process still runs on this machine; a zombie counts as dead."""
    if record.boot_id != boot_id():
        return False
    found = stat(record.pid)
    return found is not None and not found.is_zombie and found.start_ticks == record.start_time
