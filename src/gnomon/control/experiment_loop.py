"""Moves experiments along their schedules: looks, plans, acts.

The planning is in `plan_experiment`; what an action changes is one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gnomon.control.actions import (
    BeginTest,
    CheckModelData,
    EndpointView,
    EndTest,
    ExperimentAction,
    SetStatus,
)
from gnomon.control.call import Call, move_experiment
from gnomon.control.plan_experiment import plan_experiment
from gnomon.control.switch import begin_ending, begin_test
from gnomon.control.transactions import Transactions
from gnomon.errors import GnomonError, ModelDataNotFound, ResourceLimitExceeded
from gnomon.model.records import EndpointRecord, ExperimentRecord
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS

_ENDED = ("Completed", "Cancelled")
_AGAIN = "The endpoint serves on as before. Create the test again then."


class ExperimentReconciler:
    """`missing_barriers` counts the routers whose records of a test are not all in yet, by its
    barrier and its capture; `check_model_data` raises GnomonError if an archive cannot be had with
    a role; `wake` wakes an endpoint; `at_end` is called before a running test ends by its schedule,
    and may end it in another way.
    """

    def __init__(
        self,
        transactions: Transactions,
        missing_barriers: Callable[[str, str | None], Awaitable[int]],
        check_model_data: Callable[[str | None, str], Awaitable[None]],
        wake: Callable[[str], None],
        at_end: Callable[[ExperimentRecord], Awaitable[None]],
    ) -> None:
        self._transactions = transactions
        self._missing_barriers = missing_barriers
        self._check_model_data = check_model_data
        self._wake = wake
        self._at_end = at_end

    async def reconcile(self, experiment_id: str) -> bool:
        """One pass over one experiment. True if it did something."""
        await self._end_in_another_way(experiment_id)
        missing = await self._missing(experiment_id)
        check: ExperimentRecord | None = None
        async with self._transactions.call() as call:
            record = await EXPERIMENTS.get(call.connection, experiment_id)
            if record is None or record.status in _ENDED:
                return False
            endpoint = await ENDPOINTS.get(call.connection, record.endpoint_id)
            actions = plan_experiment(
                record, _view(endpoint), missing, call.now_s, call.steady_s, call.new_id()
            )
            for action in actions:
                if isinstance(action, CheckModelData):
                    check = record
                else:
                    await self._carry_out(call, record, endpoint, action)
        if check is not None:
            await self._check(check)
        self._wake(record.endpoint_id)
        return bool(actions)

    async def _end_in_another_way(self, experiment_id: str) -> None:
        """Gives `at_end` its chance where a running test is about to end by its schedule."""
        async with self._transactions.looking() as call:
            record = await EXPERIMENTS.get(call.connection, experiment_id)
        if (
            record is not None
            and record.status == "Running"
            and call.now_s >= record.plan.ends_at_s
        ):
            await self._at_end(record)

    async def _missing(self, experiment_id: str) -> int:
        async with self._transactions.database.reading() as connection:
            record = await EXPERIMENTS.get(connection, experiment_id)
        if record is None or record.status != "Stopping" or record.plan.ending is None:
            return 0
        return await self._missing_barriers(record.plan.ending.barrier_id, record.plan.capture_id)

    async def _carry_out(
        self,
        call: Call,
        record: ExperimentRecord,
        endpoint: EndpointRecord | None,
        action: ExperimentAction,
    ) -> None:
        match action:
            case SetStatus(status, reason) if status in _ENDED:
                await move_experiment(call, record, status, reason, completed_at_s=call.now_s)
            case SetStatus(status, reason):
                await move_experiment(call, record, status, reason)
            case BeginTest():
                assert endpoint is not None, "a test begins on an endpoint"
                try:
                    await begin_test(call, record, endpoint)
                except ResourceLimitExceeded as error:
                    reason = f"{error} {_AGAIN}"
                    await move_experiment(
                        call, record, "Cancelled", reason, completed_at_s=call.now_s
                    )
            case EndTest(ending):
                assert endpoint is not None, "a test ends on an endpoint"
                await begin_ending(call, record, endpoint, ending)

    async def _check(self, record: ExperimentRecord) -> None:
        """Created if the shadow's archive can be had, else Cancelled with the reason."""
        reason: str | None = None
        try:
            shadow = record.plan.shadow
            await self._check_model_data(shadow.container.model_data_url, shadow.role_arn)
        except ModelDataNotFound as error:
            reason = f"{error} Put it there, or give the model another ModelDataUrl. {_AGAIN}"
        except GnomonError as error:
            reason = f"{error} {_AGAIN}"
        async with self._transactions.call() as call:
            current = await EXPERIMENTS.get(call.connection, record.id)
            if current is None or current.status != "Creating":
                return
            if reason is None:
                await move_experiment(call, current, "Created", None)
            else:
                await move_experiment(call, current, "Cancelled", reason, completed_at_s=call.now_s)


def _view(endpoint: EndpointRecord | None) -> EndpointView | None:
    if endpoint is None:
        return None
    return EndpointView(
        status=endpoint.status,
        failure_reason=endpoint.failure_reason,
        desired=endpoint.desired,
        serving=endpoint.serving,
    )
