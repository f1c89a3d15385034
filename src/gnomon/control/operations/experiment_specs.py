"""What an endpoint becomes under a test and at its end, and the configurations that say so.

Pure but for the configuration rows: an experiment's swaps are endpoint configurations like any
other, listed like any other, and removed with the experiment when nothing uses them.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from gnomon.control.call import Call
from gnomon.model.arn import ENDPOINT_CONFIG
from gnomon.model.experiment import ModelVariant
from gnomon.model.records import EndpointConfigRecord, ExperimentRecord
from gnomon.model.snapshot import Capture, Experiment
from gnomon.model.spec import EndpointSpec, VariantSpec
from gnomon.store.state.resources import ENDPOINT_CONFIGS

# A production variant whose weight is 0 gets this one for the test: a share needs something to be
# a share of.
_TEST_WEIGHT = 1.0
# Of the experiment's name, this much stands in the names of its configurations; with the dash and
# eight digits that is AWS's bound of 63.
_NAME_CHARACTERS = 54


def test_spec(
    experiment: ExperimentRecord, former: EndpointSpec, config_name: str, noise_share: float
) -> EndpointSpec:
    """The endpoint under the test: its production variant, the shadow, and what rides on them."""
    plan = experiment.plan
    kms_key = plan.kms_key or former.kms_key
    production = _sized(former.production[0], plan.production)
    if production.weight <= 0:
        production = msgspec.structs.replace(production, weight=_TEST_WEIGHT)
    shadow = plan.shadow
    captures = tuple(capture for capture in former.captures if not capture.experiment_id)
    if plan.capture_id:
        captures = (*captures, Capture(id=plan.capture_id, experiment_id=experiment.id))
    return EndpointSpec(
        config_name=config_name,
        production=(production,),
        shadow=VariantSpec(
            id=shadow.variant_id,
            name=shadow.variant_name,
            model_name=shadow.model_name,
            model_id=shadow.model_id,
            container=shadow.container,
            instance_type=shadow.instance_type,
            count=shadow.count,
            weight=production.weight * plan.sampling_percentage / 100,
            # Production's instances are as they were: nothing of a test restarts them.
            kms_key=kms_key,
            role_arn=shadow.role_arn,
        ),
        routing=former.routing,
        data_capture=former.data_capture,
        experiment=Experiment(
            id=experiment.id,
            name=experiment.name,
            ends_at_s=plan.ends_at_s,
            noise_share=noise_share,
        ),
        captures=captures,
        kms_key=kms_key,
        role_arn=former.role_arn,
    )


def promoted_spec(running: EndpointSpec) -> EndpointSpec:
    """The shadow as the only production variant, under its own name; its instances stay."""
    assert running.shadow is not None, "only an endpoint under test has a shadow to promote"
    weight = running.production[0].weight
    return EndpointSpec(
        config_name=running.config_name,
        production=(msgspec.structs.replace(running.shadow, weight=weight),),
        routing=running.routing,
        captures=_without_test(running),
        data_capture=running.data_capture,
        kms_key=running.kms_key,
        role_arn=running.role_arn,
    )


def retained_spec(running: EndpointSpec) -> EndpointSpec:
    """Both stay: the shadow goes on mirroring as a plain shadow variant."""
    return msgspec.structs.replace(running, experiment=None, captures=_without_test(running))


def resized(spec: EndpointSpec, sizes: dict[str, tuple[str, int]]) -> EndpointSpec:
    """The state with instance type and count of the variants that `sizes` names."""

    def size(variant: VariantSpec) -> VariantSpec:
        instance_type, count = sizes.get(variant.name, (variant.instance_type, variant.count))
        return msgspec.structs.replace(variant, instance_type=instance_type, count=count)

    return msgspec.structs.replace(
        spec,
        production=tuple(size(variant) for variant in spec.production),
        shadow=size(spec.shadow) if spec.shadow else None,
    )


def new_config_name(experiment_name: str) -> str:
    return f"{experiment_name[:_NAME_CHARACTERS]}-{secrets.token_hex(4)}"


async def keep_config(call: Call, experiment: ExperimentRecord, spec: EndpointSpec) -> None:
    """Adds the endpoint configuration that `spec` names, so that it can be described."""
    request: dict[str, Any] = {
        "EndpointConfigName": spec.config_name,
        "ProductionVariants": [_variant_request(variant) for variant in spec.production],
    }
    if spec.shadow is not None:
        request["ShadowProductionVariants"] = [_variant_request(spec.shadow)]
    if spec.data_capture is not None:
        request["DataCaptureConfig"] = spec.data_capture
    if spec.kms_key:
        request["KmsKeyId"] = spec.kms_key
    if spec.role_arn:
        request["ExecutionRoleArn"] = spec.role_arn
    record = EndpointConfigRecord(
        id=call.new_id(),
        name=spec.config_name,
        arn=call.account.arn(ENDPOINT_CONFIG, spec.config_name),
        created_at_s=call.now_s,
        tags={},
        request=request,
        experiment_id=experiment.id,
    )
    await ENDPOINT_CONFIGS.add(call.connection, record)


def _without_test(running: EndpointSpec) -> tuple[Capture, ...]:
    return tuple(capture for capture in running.captures if not capture.experiment_id)


def _sized(variant: VariantSpec, wanted: ModelVariant) -> VariantSpec:
    return msgspec.structs.replace(variant, instance_type=wanted.instance_type, count=wanted.count)


def _variant_request(variant: VariantSpec) -> dict[str, Any]:
    return {
        "VariantName": variant.name,
        "ModelName": variant.model_name,
        "InstanceType": variant.instance_type,
        "InitialInstanceCount": variant.count,
        "InitialVariantWeight": variant.weight,
        **{
            member: int(time_limit_s)
            for member, time_limit_s in (
                ("ContainerStartupHealthCheckTimeoutInSeconds", variant.startup_time_limit_s),
                ("ModelDataDownloadTimeoutInSeconds", variant.download_time_limit_s),
            )
            if time_limit_s is not None
        },
    }
