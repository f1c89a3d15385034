"""What the state database holds, as values: what planners see and operations answer from.

Field names are the columns' names (`gnomon.store.state.tables`).
"""

from __future__ import annotations

import msgspec

from gnomon.model.experiment import ExperimentPlan
from gnomon.model.snapshot import Instance
from gnomon.model.spec import EndpointSpec, VariantSpec

Tags = dict[str, str]


class ModelRecord(msgspec.Struct, frozen=True):
    """A model; `request` is CreateModel's, as given."""

    id: str
    name: str
    arn: str
    created_at_s: float
    tags: Tags
    request: dict[str, object]


class EndpointConfigRecord(msgspec.Struct, frozen=True):
    """An endpoint configuration; `request` is CreateEndpointConfig's, as given."""

    id: str
    name: str
    arn: str
    created_at_s: float
    tags: Tags
    request: dict[str, object]
    experiment_id: str = ""


class EndpointRecord(msgspec.Struct, frozen=True):
    """An endpoint: what is wanted of it, what served last, and how far it is.

    `changing_since_s` is steady time: when the change under way began, and once what is desired
    serves, since when.
    """

    id: str
    name: str
    arn: str
    created_at_s: float
    modified_at_s: float
    tags: Tags
    status: str
    failure_reason: str
    desired: EndpointSpec
    serving: EndpointSpec | None
    changing_since_s: float
    # The DeploymentConfig as it was last given.
    deployment: dict[str, object] | None = None


class InstanceRecord(msgspec.Struct, frozen=True):
    """One instance, from its intent to its end; both times are steady time."""

    id: str
    endpoint_id: str
    endpoint_name: str
    variant_id: str
    variant_name: str
    fingerprint: str
    status: str
    reason: str
    created_at_s: float
    spec: VariantSpec
    address: Instance | None = None
    left_version: int | None = None
    # With a lower CPU weight, as shadows have.
    light: bool = False
    ended_at_s: float | None = None


class ExperimentRecord(msgspec.Struct, frozen=True):
    """An inference experiment."""

    id: str
    name: str
    arn: str
    created_at_s: float
    modified_at_s: float
    tags: Tags
    status: str
    status_reason: str
    endpoint_name: str
    endpoint_id: str
    plan: ExperimentPlan
    completed_at_s: float | None = None

    @property
    def due_at_s(self) -> float | None:
        """From when on it needs a look: at once while it changes, at its next time while it waits
        or runs, never when it has ended.
        """
        match self.status:
            case "Created":
                return self.plan.starts_at_s
            case "Running":
                return self.plan.ends_at_s
            case "Completed" | "Cancelled":
                return None
            case _:
                return 0.0


class IncarnationRecord(msgspec.Struct, frozen=True):
    """One life of one router process, as control knows it."""

    id: str
    slot: int
    pid: int
    start_time: float
    boot_id: str
    first_seen_s: float
    dead_since_s: float | None = None
    gone: bool = False


class EventRecord(msgspec.Struct, frozen=True):
    """One transition: what, when (also in steady time), why."""

    id: str
    at_s: float
    steady_s: float
    kind: str
    object_id: str
    name: str
    before: str
    after: str
    reason: str
