"""An inference experiment as planned: everything of it that is not its status.

`former` is the endpoint's whole desired state from before the test, so that going back needs
nothing else; `ending` is where the endpoint goes when the test ends, decided when it begins to.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gnomon.model.spec import Container, EndpointSpec

Outcome = Literal["Completed", "Cancelled"]


class ModelVariant(msgspec.Struct, frozen=True):
    """One of the experiment's two variants; `variant_id` is given to it with the experiment."""

    variant_id: str
    variant_name: str
    model_name: str
    model_id: str
    container: Container
    instance_type: str
    count: int
    # Its model's role.
    role_arn: str = ""


class Ending(msgspec.Struct, frozen=True):
    """How the test ends, and the state that the endpoint is in afterwards.

    `since_s` is steady time.
    """

    outcome: Outcome
    reason: str
    target: EndpointSpec
    barrier_id: str
    since_s: float


class ExperimentPlan(msgspec.Struct, frozen=True):
    """Times are epoch seconds. `data_storage` is the DataStorageConfig as it was given."""

    description: str | None
    role_arn: str
    starts_at_s: float
    ends_at_s: float
    production: ModelVariant
    shadow: ModelVariant
    sampling_percentage: int
    data_storage: dict[str, object] | None = None
    capture_id: str | None = None
    kms_key: str | None = None
    creates_endpoint: bool = False
    resume_status: str = ""
    former: EndpointSpec | None = None
    ending: Ending | None = None
