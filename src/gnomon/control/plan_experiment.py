"""What an experiment needs next. Pure: from its plan, its endpoint and the time to actions.

An experiment only swaps its endpoint's configuration, at its start and at its end; making the
endpoint equal to that is the endpoint's own reconciler's business.
"""

from __future__ import annotations

import msgspec

from gnomon.control.actions import (
    BeginTest,
    CheckModelData,
    EndpointView,
    EndTest,
    ExperimentAction,
    SetStatus,
)
from gnomon.model.experiment import Ending
from gnomon.model.records import ExperimentRecord
from gnomon.model.spec import EndpointSpec

# How long control waits for every router's spool before it says what is missing.
BARRIER_TIME_LIMIT_S = 300.0


def plan_experiment(
    experiment: ExperimentRecord,
    endpoint: EndpointView | None,
    missing_barriers: int,
    now_s: float,
    steady_s: float,
    new_barrier_id: str,
) -> list[ExperimentAction]:
    """The next action, if there is one now.

    Schedules go by `now_s`, what is waited for by `steady_s` (`gnomon.model.clock`).
    `missing_barriers`: routers that had the test and whose records of it are not all in. A test
    that ends by its schedule ends under `new_barrier_id`.
    """
    status = experiment.status
    if status == "Created" and now_s < experiment.plan.starts_at_s:
        return []
    if status == "Updating" and experiment.plan.resume_status == "Created":
        # The endpoint has no part in it yet.
        return [SetStatus("Created")]
    if endpoint is None or endpoint.status in {"Failed", "Deleting"}:
        return _without_endpoint(experiment, endpoint)
    if status == "Created":
        return _scheduled(experiment, now_s)
    if status in {"Creating", "Starting"}:
        return _starting(experiment, endpoint, now_s)
    if status == "Updating":
        return _updating(experiment, endpoint)
    if status == "Running" and now_s >= experiment.plan.ends_at_s:
        return [_end_of_schedule(experiment, steady_s, new_barrier_id)]
    if status == "Stopping":
        return _stopping(experiment, endpoint, missing_barriers, steady_s)
    return []


def _without_endpoint(
    experiment: ExperimentRecord, endpoint: EndpointView | None
) -> list[ExperimentAction]:
    if endpoint is None:
        reason = f"The endpoint {experiment.endpoint_name} does not exist any more."
    else:
        said = f": {endpoint.failure_reason}" if endpoint.failure_reason else "."
        reason = f"The endpoint {experiment.endpoint_name} is {endpoint.status}{said}"
    return [
        SetStatus("Cancelled", f"{reason} Create the test again on an endpoint that is InService.")
    ]


def _scheduled(experiment: ExperimentRecord, now_s: float) -> list[ExperimentAction]:
    missed = _missed(experiment, now_s)
    return [SetStatus("Cancelled", missed) if missed else SetStatus("Starting")]


def _missed(experiment: ExperimentRecord, now_s: float) -> str | None:
    """Why a test cannot begin any more: its whole window has passed."""
    if now_s < experiment.plan.ends_at_s:
        return None
    return (
        "The whole window of the schedule passed before the test began. Create it again with a "
        "later EndTime."
    )


def _starting(
    experiment: ExperimentRecord, endpoint: EndpointView, now_s: float
) -> list[ExperimentAction]:
    plan = experiment.plan
    if plan.former is None:
        obstacle = _missed(experiment, now_s)
        if obstacle is None and endpoint.status != "InService":
            return []
        obstacle = obstacle or _obstacle(experiment, endpoint)
        if obstacle is not None:
            return [SetStatus("Cancelled", obstacle)]
        if experiment.status == "Creating" and plan.starts_at_s > now_s:
            return [CheckModelData()]
        return [BeginTest()]
    if _runs(endpoint.desired, experiment):
        settled = endpoint.status == "InService"
        return [SetStatus("Running")] if settled else []
    # The endpoint went back to its former state by itself: the test's state could not be had.
    return [
        SetStatus(
            "Cancelled",
            f"{endpoint.failure_reason} The endpoint serves on as before. Mend the cause, and "
            "create the test again.",
        )
    ]


def _obstacle(experiment: ExperimentRecord, endpoint: EndpointView) -> str | None:
    """Why the endpoint, which may have changed since the test was made, cannot take it."""
    wanted = experiment.plan.production
    production = endpoint.desired.production
    if len(production) != 1:
        return (
            f"The endpoint {experiment.endpoint_name} has {len(production)} production variants "
            "by now; a shadow test takes one. Create the test again when it has one."
        )
    if (production[0].name, production[0].model_name) != (wanted.variant_name, wanted.model_name):
        return (
            f"The endpoint {experiment.endpoint_name} serves {production[0].name} with the model "
            f"{production[0].model_name} by now, not {wanted.variant_name} with "
            f"{wanted.model_name}. Create the test again with what it serves."
        )
    return None


def _updating(experiment: ExperimentRecord, endpoint: EndpointView) -> list[ExperimentAction]:
    return [SetStatus(experiment.plan.resume_status)] if endpoint.status == "InService" else []


def _end_of_schedule(
    experiment: ExperimentRecord, steady_s: float, barrier_id: str
) -> ExperimentAction:
    former = experiment.plan.former
    assert former is not None, "a running experiment has kept the former state"
    return EndTest(
        Ending(
            outcome="Completed",
            reason="",
            target=former,
            barrier_id=barrier_id,
            since_s=steady_s,
        )
    )


def _stopping(
    experiment: ExperimentRecord, endpoint: EndpointView, missing_barriers: int, steady_s: float
) -> list[ExperimentAction]:
    ending = experiment.plan.ending
    assert ending is not None, "a stopping experiment knows how it ends"
    if endpoint.status != "InService":
        return []
    if _runs(endpoint.desired, experiment):
        # The target could not be had and the endpoint is back on the test: drop the shadow alone.
        return [EndTest(_retreat(ending, endpoint, steady_s))]
    if missing_barriers and steady_s < ending.since_s + BARRIER_TIME_LIMIT_S:
        return []
    reason = ending.reason
    if missing_barriers:
        reason = (
            f"{reason} The records of {missing_barriers} router process(es) could not be had "
            f"within {BARRIER_TIME_LIMIT_S:.0f} s and are missing."
        ).strip()
    return [SetStatus(ending.outcome, reason)]


def _retreat(ending: Ending, endpoint: EndpointView, steady_s: float) -> Ending:
    desired = endpoint.desired
    return Ending(
        outcome="Cancelled",
        reason=(
            f"{endpoint.failure_reason} The endpoint could not take the state that the test was "
            "to end with; it serves on with its production variant, and the shadow is removed. "
            "Mend the cause, and bring it to that state with UpdateEndpoint."
        ).strip(),
        target=msgspec.structs.replace(
            desired,
            shadow=None,
            experiment=None,
            captures=tuple(c for c in desired.captures if not c.experiment_id),
            barriers=(),
        ),
        barrier_id=ending.barrier_id,
        since_s=steady_s,
    )


def _runs(spec: EndpointSpec, experiment: ExperimentRecord) -> bool:
    return spec.experiment is not None and spec.experiment.id == experiment.id
