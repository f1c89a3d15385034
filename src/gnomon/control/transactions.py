"""How control opens a transaction: with its connection, its time and its ids, as a `Call`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from gnomon.control.call import Call
from gnomon.model.arn import Account
from gnomon.model.clock import Clock
from gnomon.model.lifecycle import INSTANCE
from gnomon.model.records import EventRecord
from gnomon.settings import QuotaSettings
from gnomon.store.database import Database

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Transactions:
    """The state database as control's own work uses it."""

    database: Database
    account: Account
    clock: Clock
    new_id: Callable[[], str]
    quotas: QuotaSettings = field(default_factory=QuotaSettings)

    @asynccontextmanager
    async def call(self, region: str | None = None) -> AsyncIterator[Call]:
        """A writing transaction; `region` is the caller's, else the settings'.

        Its transitions are logged when they are committed.
        """
        account = Account(region or self.account.region, self.account.account_id)
        async with self.database.writing() as connection:
            call = Call(
                connection=connection,
                account=account,
                now_s=self.clock.now_s(),
                new_id=self.new_id,
                quotas=self.quotas,
            )
            yield call
        for transition in call.transitions:
            _log(transition)


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
