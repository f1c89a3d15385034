"""How control opens a transaction: with its connection, its time and its ids, as a `Call`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.control.call import Call
from gnomon.model.arn import Account
from gnomon.model.clock import Clock
from gnomon.model.ids import ulid
from gnomon.model.lifecycle import INSTANCE
from gnomon.model.records import EventRecord
from gnomon.settings import QuotaSettings
from gnomon.store.database import Database

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Transactions:
    """The state database as control's own work uses it. `random` gives so many random bytes."""

    database: Database
    account: Account
    clock: Clock
    steady_offset_s: float
    random: Callable[[int], bytes]
    quotas: QuotaSettings

    @asynccontextmanager
    async def call(self, region: str | None = None) -> AsyncIterator[Call]:
        """A writing transaction; `region` is the caller's, else the settings'.

        Its transitions are logged when they are committed.
        """
        async with self.database.writing() as connection:
            call = self._call(connection, region)
            yield call
        for transition in call.transitions:
            _log(transition)

    @asynccontextmanager
    async def looking(self, region: str | None = None) -> AsyncIterator[Call]:
        """The same for what only reads: it waits for no writer."""
        async with self.database.reading() as connection:
            yield self._call(connection, region)

    def steady_s(self) -> float:
        """Steady time (`gnomon.model.clock`)."""
        return self.clock.monotonic_s() + self.steady_offset_s

    def new_id(self) -> str:
        """A fresh ULID; by steady time, so that ids sort by age whatever the clock does."""
        return ulid(self.steady_s(), self.random(10))

    def _call(self, connection: AsyncConnection, region: str | None) -> Call:
        return Call(
            connection=connection,
            account=Account(region or self.account.region, self.account.account_id),
            now_s=self.clock.now_s(),
            steady_s=self.steady_s(),
            new_id=self.new_id,
            quotas=self.quotas,
        )


def _log(transition: EventRecord) -> None:
    about = {"name": transition.name}
    if transition.kind == INSTANCE.name:
        about["instance"] = transition.object_id
    _LOG.info(
        f"{transition.kind} {transition.after or 'gone'}",
        **about,
        before=transition.before,
        reason=transition.reason,
    )
