"""What Gnomon does of its own accord with a running test, where its analysis says so: it stops one
whose shadow is not ready, and promotes one that is ready at the schedule's end.

Intervals hold at all times at once, so that acting on the first one that says so is sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gnomon.control.judging import Judge
from gnomon.control.operations.experiment_changes import stop_inference_experiment
from gnomon.control.spans import running_span
from gnomon.control.transactions import Transactions
from gnomon.errors import GnomonError
from gnomon.model.records import ExperimentRecord
from gnomon.store.database import Database
from gnomon.store.state.analyses import analyses_of
from gnomon.store.state.instances import events_of
from gnomon.store.state.resources import EXPERIMENTS
from gnomon.store.telemetry import queries

if TYPE_CHECKING:
    from gnomon.stats.figures import Verdict

# How often running tests are judged, in seconds: pairs arrive within one.
LOOK_S = 2.0

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Guardrails:
    """`changed` is called after a test was stopped."""

    transactions: Transactions
    telemetry: Database
    judge: Judge
    changed: Callable[[], None]

    async def look(self) -> None:
        """Judge every running test whose shadow is to go when it is not ready."""
        async with self.transactions.database.reading() as connection:
            running = await EXPERIMENTS.where(connection, status=("Running",))
            analyses = await analyses_of(connection, [record.id for record in running])
        for record in running:
            analysis = analyses.get(record.id) or self.judge.default_record(record.id)
            if not analysis.guardrails.stop_when_broken:
                continue
            verdict = await self._verdict(record)
            if verdict.status == "not_ready":
                await self._stop(record, "Remove", "Cancelled", _said("not ready", verdict))

    async def at_end(self, record: ExperimentRecord) -> None:
        """The schedule of a running test is over: promote its shadow if that is wanted and fit."""
        analysis = await self.judge.record(record.id)
        if not analysis.guardrails.promote_when_ready:
            return
        verdict = await self._verdict(record)
        if verdict.status == "ready":
            await self._stop(record, "Promote", "Completed", _said("ready", verdict))

    async def _verdict(self, record: ExperimentRecord) -> Verdict:
        async with self.transactions.looking() as call:
            events = await events_of(call.connection, record.id)
            span = running_span(events, call.now_s, call.steady_s)
        async with self.telemetry.reading() as connection:
            found = await queries.metrics(connection, queries.Scope(experiment_id=record.id))
        shadow = [one for one in found if one.variant_id == record.plan.shadow.variant_id]
        judged = await self.judge.judge(record.id, shadow, span)
        return judged.figures.verdict

    async def _stop(
        self, record: ExperimentRecord, of_shadow: str, outcome: str, reason: str
    ) -> None:
        plan = record.plan
        of_production = "Remove" if of_shadow == "Promote" else "Retain"
        params = {
            "Name": record.name,
            "ModelVariantActions": {
                plan.production.variant_name: of_production,
                plan.shadow.variant_name: of_shadow,
            },
            "DesiredState": outcome,
            "Reason": reason,
        }
        try:
            async with self.transactions.call() as call:
                current = await EXPERIMENTS.get(call.connection, record.id)
                if current is None or current.status != "Running":
                    return
                await stop_inference_experiment(call, params)
        except GnomonError as error:
            _LOG.warning("a guardrail could not act", experiment=record.name, reason=str(error))
        else:
            _LOG.info("a guardrail acted", experiment=record.name, reason=reason)
            self.changed()


def _said(what: str, verdict: Verdict) -> str:
    return f"By its guardrail: the shadow is {what}. {' '.join(verdict.reasons)}"
