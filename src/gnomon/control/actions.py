"""What reconcilers decide to do. Imperative, frozen, and safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.model.experiment import Ending
from gnomon.model.spec import EndpointSpec, VariantSpec


@dataclass(frozen=True)
class StartInstance:
    """`light`: with a lower CPU weight."""

    variant: VariantSpec
    light: bool = False


@dataclass(frozen=True)
class DrainInstance:
    """Take it out of the snapshot; it is stopped once no router uses it."""

    instance_id: str


@dataclass(frozen=True)
class StopInstance:
    instance_id: str


@dataclass(frozen=True)
class Serve:
    """The desired state is ready: it is what routers are told from now on."""


@dataclass(frozen=True)
class Settle:
    """Every router knows what serves: the change is over."""


@dataclass(frozen=True)
class FailChange:
    """The desired state cannot be had: Failed for a new endpoint, else back to what served."""

    reason: str


@dataclass(frozen=True)
class RemoveEndpoint:
    """Nothing of the endpoint runs any more."""


EndpointAction = (
    StartInstance | DrainInstance | StopInstance | Serve | Settle | FailChange | RemoveEndpoint
)


@dataclass(frozen=True)
class CheckModelData:
    """See that the shadow's archive can be had, while there is time to mend it."""


@dataclass(frozen=True)
class BeginTest:
    """Keep the endpoint's state and swap in the configuration with the shadow."""


@dataclass(frozen=True)
class SetStatus:
    """Moves the experiment on; a None reason leaves StatusReason as it is."""

    status: str
    reason: str | None = None


@dataclass(frozen=True)
class EndTest:
    """Swap in the configuration that the test ends with."""

    ending: Ending


ExperimentAction = CheckModelData | BeginTest | SetStatus | EndTest


@dataclass(frozen=True)
class EndpointView:
    """What the experiment's planner sees of its endpoint."""

    status: str
    failure_reason: str
    desired: EndpointSpec
    serving: EndpointSpec | None
