"""Lifecycles as tables: which status may follow which, and on what event.

The code that changes a status asks `Lifecycle.check`; the documentation's diagrams come from the
same rows. Statuses of endpoints and experiments are SageMaker's, those of instances ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.errors import GnomonError


class IllegalTransition(GnomonError):
    """A status change that the lifecycle's table does not have: a defect in Gnomon."""

    def __init__(self, lifecycle: str, before: str | None, after: str) -> None:
        self.lifecycle = lifecycle
        self.before = before
        self.after = after
        super().__init__(f"{lifecycle}: {before or 'nothing'} cannot become {after}")


@dataclass(frozen=True)
class Lifecycle:
    """Rows of (status before, event, status after); None before is the beginning."""

    name: str
    rows: tuple[tuple[str | None, str, str], ...]

    @property
    def statuses(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(after for _, _, after in self.rows))

    def allows(self, before: str | None, after: str) -> bool:
        return any(row[0] == before and row[2] == after for row in self.rows)

    def check(self, before: str | None, after: str) -> None:
        """Raises IllegalTransition unless a row leads from `before` to `after`."""
        if not self.allows(before, after):
            raise IllegalTransition(self.name, before, after)


ENDPOINT = Lifecycle(
    "endpoint",
    (
        (None, "CreateEndpoint", "Creating"),
        ("Creating", "all instances healthy", "InService"),
        ("Creating", "an instance failed", "Failed"),
        ("InService", "the desired state changed", "Updating"),
        ("Updating", "all instances healthy", "InService"),
        ("Updating", "an instance failed: back to what served", "InService"),
        ("InService", "DeleteEndpoint", "Deleting"),
        ("Failed", "DeleteEndpoint", "Deleting"),
    ),
)

EXPERIMENT = Lifecycle(
    "inference experiment",
    (
        (None, "CreateInferenceExperiment", "Creating"),
        ("Creating", "checked; StartTime is in the future", "Created"),
        ("Creating", "the endpoint runs the test", "Running"),
        ("Creating", "failure", "Cancelled"),
        ("Created", "StartTime reached, or StartInferenceExperiment", "Starting"),
        ("Created", "UpdateInferenceExperiment", "Updating"),
        ("Created", "the whole window was missed", "Cancelled"),
        ("Starting", "the endpoint runs the test", "Running"),
        ("Starting", "failure", "Cancelled"),
        ("Running", "UpdateInferenceExperiment", "Updating"),
        ("Running", "EndTime reached, or StopInferenceExperiment", "Stopping"),
        ("Running", "failure", "Cancelled"),
        ("Updating", "applied to a scheduled test", "Created"),
        ("Updating", "applied to a running test", "Running"),
        ("Updating", "failure", "Cancelled"),
        ("Stopping", "all records readable; EndTime or DesiredState Completed", "Completed"),
        ("Stopping", "all records readable; DesiredState Cancelled, or failure", "Cancelled"),
    ),
)

INSTANCE = Lifecycle(
    "instance",
    (
        (None, "intent written", "Pending"),
        ("Pending", "process started", "Starting"),
        ("Pending", "model data or process failed", "Failed"),
        ("Pending", "no longer wanted", "Draining"),
        ("Starting", "ping answered", "InService"),
        ("Starting", "exited", "Failed"),
        ("Starting", "no ping in time", "Failing"),
        ("Starting", "no longer wanted", "Draining"),
        ("InService", "exited", "Failed"),
        ("InService", "three pings failed", "Failing"),
        ("Pending", "Gnomon failed to keep it", "Failing"),
        ("Failing", "process ended", "Failed"),
        ("InService", "no longer wanted", "Draining"),
        ("Pending", "gone when control came back", "Stopped"),
        ("Starting", "gone when control came back", "Stopped"),
        ("InService", "gone when control came back", "Stopped"),
        ("Draining", "no router uses it", "Stopping"),
        ("Draining", "exited", "Stopped"),
        ("Stopping", "process ended", "Stopped"),
    ),
)

# What an instance is when it may still have a process.
LIVE_INSTANCE = ("Pending", "Starting", "InService", "Failing", "Draining", "Stopping")
# What an instance is when its end was not wanted.
FAILED_INSTANCE = ("Failing", "Failed")
# What an experiment is when it still claims its endpoint.
UNFINISHED_EXPERIMENT = ("Creating", "Created", "Starting", "Updating", "Running", "Stopping")
# What an experiment is while the endpoint runs, takes on or gives back its test, or is about to.
ACTIVE_EXPERIMENT = ("Creating", "Starting", "Updating", "Running", "Stopping")
