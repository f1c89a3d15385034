"""Desired state of an endpoint, resolved: all that is needed to run it, kept in its own row.

Models and configurations are copied in when an endpoint takes them, so that going back to a former
state does not depend on rows that a user may delete meanwhile.
"""

from __future__ import annotations

import hashlib

import msgspec

from gnomon.model.snapshot import Capture, Experiment, Routing


class Container(msgspec.Struct, frozen=True):
    """What runs in an instance: an image's name, an archive (may be none), an environment."""

    image: str
    model_data_url: str | None
    environment: dict[str, str]


class VariantSpec(msgspec.Struct, frozen=True):
    """A variant as desired. `id` stays while the endpoint has a variant of this name.

    `model_id` is the model row's id: a deleted and re-made model is another one.
    """

    id: str
    name: str
    model_name: str
    model_id: str
    container: Container
    instance_type: str
    count: int
    weight: float
    startup_time_limit_s: float | None = None
    download_time_limit_s: float | None = None
    # The KMS key of its instances' storage volumes, as it was given.
    kms_key: str = ""
    # The role that its archive is read with, its model's; empty if that names none. It is no part
    # of the identity: a model's role never changes.
    role_arn: str = ""

    @property
    def fingerprint(self) -> str:
        """Identity of this variant's instances: model, image, environment, instance type, key."""
        of: tuple[object, ...] = (self.model_id, self.container, self.instance_type)
        # Without one it is as it was before there were keys: that restarts nothing.
        identity = msgspec.json.encode((*of, self.kms_key) if self.kms_key else of, order="sorted")
        return hashlib.sha256(identity).hexdigest()[:32]


class EndpointSpec(msgspec.Struct, frozen=True):
    """An endpoint as desired: variants, at most one shadow, and what rides on them.

    `data_capture` is the DataCaptureConfig as it was given: what `captures` came from. `kms_key` is
    what its records are sealed under in the spool, `role_arn` the configuration's own role.
    """

    config_name: str
    production: tuple[VariantSpec, ...]
    shadow: VariantSpec | None = None
    routing: Routing = "LEAST_OUTSTANDING_REQUESTS"
    experiment: Experiment | None = None
    captures: tuple[Capture, ...] = ()
    barriers: tuple[str, ...] = ()
    data_capture: dict[str, object] | None = None
    kms_key: str = ""
    role_arn: str = ""

    @property
    def variants(self) -> tuple[VariantSpec, ...]:
        return (*self.production, self.shadow) if self.shadow else self.production

    @property
    def shadow_share(self) -> float:
        """Share of production requests that go to the shadow: its weight over production's."""
        if self.shadow is None:
            return 0.0
        weight = sum(variant.weight for variant in self.production)
        return min(1.0, self.shadow.weight / weight) if weight > 0 else 0.0

    def variant(self, name: str) -> VariantSpec | None:
        return next((variant for variant in self.variants if variant.name == name), None)


class CaptureDefinition(msgspec.Struct, frozen=True):
    """Where a capture's records go and which bodies are kept as text. It never changes."""

    destination: str
    csv_content_types: tuple[str, ...] = ()
    json_content_types: tuple[str, ...] = ()
    # The KMS key as it was given: an alias is resolved whenever an object is written.
    kms_key: str = ""
    # The role that objects are written with; empty if none was named.
    role_arn: str = ""
