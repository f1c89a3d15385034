"""Records with plausible members, for tests of planners: say only what the test is about."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.model.experiment import ExperimentPlan, ModelVariant
from gnomon.model.records import EndpointRecord, ExperimentRecord, InstanceRecord
from gnomon.model.snapshot import Instance
from gnomon.model.spec import Container, EndpointSpec, VariantSpec

CONTAINER = Container("sagemaker-scikit-learn", "s3://bucket/model.tar.gz", {})


def a_variant(name: str = "AllTraffic", **members: Any) -> VariantSpec:
    base = VariantSpec(
        id=f"variant-{name}",
        name=name,
        model_name=f"model-{name}",
        model_id=f"id-{name}",
        container=CONTAINER,
        instance_type="ml.m5.xlarge",
        count=1,
        weight=1.0,
    )
    return msgspec.structs.replace(base, **members)


def a_spec(*production: VariantSpec, **members: Any) -> EndpointSpec:
    return EndpointSpec(
        config_name=members.pop("config_name", "config"),
        production=production or (a_variant(),),
        **members,
    )


def an_endpoint(**members: Any) -> EndpointRecord:
    desired = members.pop("desired", a_spec())
    base = EndpointRecord(
        id="endpoint-id",
        name="endpoint",
        arn="arn:aws:sagemaker:us-east-1:000000000000:endpoint/endpoint",
        created_at_s=0.0,
        modified_at_s=0.0,
        tags={},
        status="InService",
        failure_reason="",
        desired=desired,
        serving=desired,
        changing_since_s=0.0,
    )
    return msgspec.structs.replace(base, **members)


def an_instance(variant: VariantSpec, number: int = 1, **members: Any) -> InstanceRecord:
    id_ = f"{variant.name}-{number}"
    base = InstanceRecord(
        id=id_,
        endpoint_id="endpoint-id",
        endpoint_name="endpoint",
        variant_id=variant.id,
        variant_name=variant.name,
        fingerprint=variant.fingerprint,
        status="InService",
        reason="",
        created_at_s=0.0,
        spec=variant,
        address=Instance(id_, "127.0.0.1", 9000 + number),
    )
    return msgspec.structs.replace(base, **members)


def an_experiment(**members: Any) -> ExperimentRecord:
    plan = members.pop("plan", a_plan())
    base = ExperimentRecord(
        id="experiment-id",
        name="experiment",
        arn="arn:aws:sagemaker:us-east-1:000000000000:inference-experiment/experiment",
        created_at_s=0.0,
        modified_at_s=0.0,
        tags={},
        status="Running",
        status_reason="",
        endpoint_name="endpoint",
        endpoint_id="endpoint-id",
        plan=plan,
    )
    return msgspec.structs.replace(base, **members)


def a_plan(**members: Any) -> ExperimentPlan:
    base = ExperimentPlan(
        description=None,
        role_arn="arn:aws:iam::000000000000:role/r",
        starts_at_s=0.0,
        ends_at_s=1000.0,
        production=_model_variant("AllTraffic"),
        shadow=_model_variant("Shadow"),
        sampling_percentage=50,
    )
    return msgspec.structs.replace(base, **members)


def _model_variant(name: str) -> ModelVariant:
    return ModelVariant(
        variant_id=f"variant-{name}",
        variant_name=name,
        model_name=f"model-{name}",
        model_id=f"id-{name}",
        container=CONTAINER,
        instance_type="ml.m5.xlarge",
        count=1,
    )
