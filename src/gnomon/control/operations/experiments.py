"""CreateInferenceExperiment, DescribeInferenceExperiment, ListInferenceExperiments and
DeleteInferenceExperiment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gnomon.control.call import Call, Params
from gnomon.control.call import create_experiment as add_experiment
from gnomon.control.operations import endpoints
from gnomon.control.operations.endpoint_specs import define_capture
from gnomon.control.operations.experiment_specs import (
    keep_config,
    new_config_name,
    test_spec,
)
from gnomon.control.operations.listing import page
from gnomon.control.operations.models import container_of, find_model, role_of
from gnomon.control.operations.schedules import new_schedule
from gnomon.control.operations.tags import tags_of
from gnomon.control.quotas import check_experiments, check_instances
from gnomon.errors import Conflict, ResourceInUse, ResourceNotFound, ValidationFailed
from gnomon.model.arn import EXPERIMENT
from gnomon.model.experiment import ExperimentPlan, ModelVariant
from gnomon.model.lifecycle import UNFINISHED_EXPERIMENT
from gnomon.model.records import EndpointRecord, ExperimentRecord
from gnomon.model.spec import EndpointSpec, VariantSpec
from gnomon.store.state.analyses import remove_analysis
from gnomon.store.state.resources import (
    ENDPOINT_CONFIGS,
    ENDPOINTS,
    EXPERIMENTS,
    config_is_used,
)

_UNSUPPORTED_FEATURES = "One or more endpoint features are not supported using this configuration."


async def create_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    name = params["Name"]
    arn = call.account.arn(EXPERIMENT, name)
    if await EXPERIMENTS.find(call.connection, name):
        raise ResourceInUse(f'Cannot create already existing inference experiment "{arn}".')
    starts_at_s, ends_at_s = new_schedule(params.get("Schedule"), call.now_s)
    given = [await _model_variant(call, item) for item in params["ModelVariants"]]
    production, shadow, percentage = split_variants(given, params["ShadowModeConfig"])
    endpoint = await ENDPOINTS.find(call.connection, params["EndpointName"])
    if endpoint is not None:
        await _check_endpoint(call, endpoint, production, shadow)
    experiment_id = call.new_id()
    storage = params.get("DataStorageConfig")
    record = ExperimentRecord(
        id=experiment_id,
        name=name,
        arn=arn,
        created_at_s=call.now_s,
        modified_at_s=call.now_s,
        tags=tags_of(params),
        status="Creating",
        status_reason="",
        endpoint_name=endpoint.name if endpoint else params["EndpointName"],
        endpoint_id=endpoint.id if endpoint else "",
        plan=ExperimentPlan(
            description=params.get("Description"),
            role_arn=params["RoleArn"],
            starts_at_s=starts_at_s,
            ends_at_s=ends_at_s,
            production=production,
            shadow=shadow,
            sampling_percentage=percentage,
            data_storage=storage,
            capture_id=await capture_of(call, storage, params["RoleArn"]),
            kms_key=params.get("KmsKey"),
            creates_endpoint=endpoint is None,
        ),
    )
    await check_experiments(call)
    if endpoint is None:
        record = await _with_endpoint(call, record)
    else:
        await check_instances(call, endpoint.desired, test_spec(record, endpoint.desired, "", 0.0))
    await add_experiment(call, record)
    return {"InferenceExperimentArn": arn}


async def describe_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    record = await find_experiment(call, params["Name"])
    plan = record.plan
    endpoint = await ENDPOINTS.get(call.connection, record.endpoint_id)
    return {
        "Arn": record.arn,
        "Name": record.name,
        "Type": "ShadowMode",
        "Schedule": {
            "StartTime": datetime.fromtimestamp(plan.starts_at_s, UTC),
            "EndTime": datetime.fromtimestamp(plan.ends_at_s, UTC),
        },
        "Status": record.status,
        "StatusReason": record.status_reason or None,
        "Description": plan.description,
        "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
        "CompletionTime": datetime.fromtimestamp(record.completed_at_s, UTC)
        if record.completed_at_s is not None
        else None,
        "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
        "RoleArn": plan.role_arn,
        "EndpointMetadata": _endpoint_metadata(record, endpoint),
        "ModelVariants": [
            _variant_summary(variant, record, endpoint)
            for variant in (plan.production, plan.shadow)
        ],
        "DataStorageConfig": plan.data_storage,
        "KmsKey": plan.kms_key,
        "ShadowModeConfig": {
            "SourceModelVariantName": plan.production.variant_name,
            "ShadowModelVariants": [
                {
                    "ShadowModelVariantName": plan.shadow.variant_name,
                    "SamplingPercentage": plan.sampling_percentage,
                }
            ],
        },
    }


async def list_inference_experiments(call: Call, params: Params) -> dict[str, Any]:
    shown, token = await page(call.connection, EXPERIMENTS, params)
    return {
        "InferenceExperiments": [
            {
                "Name": record.name,
                "Type": "ShadowMode",
                "Schedule": {
                    "StartTime": datetime.fromtimestamp(record.plan.starts_at_s, UTC),
                    "EndTime": datetime.fromtimestamp(record.plan.ends_at_s, UTC),
                },
                "Status": record.status,
                "StatusReason": record.status_reason or None,
                "Description": record.plan.description,
                "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
                "CompletionTime": datetime.fromtimestamp(record.completed_at_s, UTC)
                if record.completed_at_s is not None
                else None,
                "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
                "RoleArn": record.plan.role_arn,
            }
            for record in shown
        ],
        "NextToken": token,
    }


async def delete_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    record = await find_experiment(call, params["Name"])
    if record.status not in {"Created", "Completed", "Cancelled"}:
        raise Conflict(
            f"The inference experiment {record.name} is {record.status}. Stop it before you "
            "delete it."
        )
    for config in await ENDPOINT_CONFIGS.where(call.connection, experiment_id=record.id):
        if not await config_is_used(call.connection, config.name):
            await ENDPOINT_CONFIGS.remove(call.connection, config.id)
    await remove_analysis(call.connection, record.id)
    await EXPERIMENTS.remove(call.connection, record.id)
    return {"InferenceExperimentArn": record.arn}


async def find_experiment(call: Call, name: str) -> ExperimentRecord:
    record = await EXPERIMENTS.find(call.connection, name)
    if record is None:
        arn = call.account.arn(EXPERIMENT, name)
        raise ResourceNotFound(f'Could not find inference experiment "{arn}".')
    return record


async def capture_of(call: Call, storage: Params | None, role_arn: str) -> str | None:
    """A capture id for a DataStorageConfig that the role writes to, or None without one."""
    if not storage:
        return None
    types = storage.get("ContentType") or {}
    return await define_capture(
        call,
        storage["Destination"],
        types.get("CsvContentTypes") or [],
        types.get("JsonContentTypes") or [],
        storage.get("KmsKey") or "",
        role_arn,
    )


async def _model_variant(call: Call, item: Params) -> ModelVariant:
    model = await find_model(call, item["ModelName"])
    config = (item.get("InfrastructureConfig") or {}).get("RealTimeInferenceConfig")
    if not config:
        raise ValidationFailed(
            f"Variant {item['VariantName']} needs InfrastructureConfig.RealTimeInferenceConfig."
        )
    if config["InstanceCount"] < 1:
        raise ValidationFailed(
            f"Variant {item['VariantName']} needs an InstanceCount of at least 1."
        )
    return ModelVariant(
        variant_id=call.new_id(),
        variant_name=item["VariantName"],
        model_name=model.name,
        model_id=model.id,
        container=container_of(model.request),
        instance_type=config["InstanceType"],
        count=config["InstanceCount"],
        role_arn=role_of(model.request),
    )


def split_variants(
    variants: list[ModelVariant], shadow_mode: Params
) -> tuple[ModelVariant, ModelVariant, int]:
    """Production variant, shadow variant, sampling percentage. Pure."""
    by_name = {variant.variant_name: variant for variant in variants}
    if len({name.lower() for name in by_name}) != len(variants):
        raise ValidationFailed("The VariantNames of ModelVariants must differ.")
    shadows = shadow_mode["ShadowModelVariants"]
    if len(shadows) != 1:
        raise ValidationFailed("ShadowModeConfig.ShadowModelVariants must name one variant.")
    source, shadow = shadow_mode["SourceModelVariantName"], shadows[0]["ShadowModelVariantName"]
    if source == shadow:
        raise ValidationFailed(
            "SourceModelVariantName and ShadowModelVariantName must be different variants."
        )
    for name in (source, shadow):
        if name not in by_name:
            raise ValidationFailed(f"The variant {name} is not among ModelVariants.")
    percentage = shadows[0]["SamplingPercentage"]
    if not 0 <= percentage <= 100:
        raise ValidationFailed("SamplingPercentage must be from 0 to 100.")
    return by_name[source], by_name[shadow], percentage


async def _check_endpoint(
    call: Call, endpoint: EndpointRecord, production: ModelVariant, shadow: ModelVariant
) -> None:
    unfinished = await EXPERIMENTS.where(
        call.connection, endpoint_id=endpoint.id, status=UNFINISHED_EXPERIMENT
    )
    if unfinished:
        raise ResourceInUse(
            f'The endpoint "{endpoint.arn}" belongs to the inference experiment '
            f"{unfinished[0].name}, which has not ended."
        )
    endpoints.check_changeable(endpoint)
    if len(endpoint.desired.production) != 1:
        raise ValidationFailed(
            f"{_UNSUPPORTED_FEATURES} The endpoint has {len(endpoint.desired.production)} "
            "production variants; a shadow test takes one."
        )
    (variant,) = endpoint.desired.production
    if variant.name != production.variant_name:
        raise ValidationFailed(
            f"SourceModelVariantName {production.variant_name} is not the endpoint's production "
            f"variant, which is {variant.name}."
        )
    if variant.model_name != production.model_name:
        raise ValidationFailed(
            f"The production variant {variant.name} serves the model {variant.model_name}, not "
            f"{production.model_name}."
        )
    if shadow.variant_name.lower() == variant.name.lower():
        raise ValidationFailed("The shadow variant needs a name of its own.")


async def _with_endpoint(call: Call, record: ExperimentRecord) -> ExperimentRecord:
    """The experiment with an endpoint of its own, which begins with production alone."""
    production = record.plan.production
    spec = EndpointSpec(
        config_name=new_config_name(record.name),
        production=(
            VariantSpec(
                id=production.variant_id,
                name=production.variant_name,
                model_name=production.model_name,
                model_id=production.model_id,
                container=production.container,
                instance_type=production.instance_type,
                count=production.count,
                weight=1.0,
                kms_key=record.plan.kms_key or "",
                role_arn=production.role_arn,
            ),
        ),
        kms_key=record.plan.kms_key or "",
    )
    await keep_config(call, record, spec)
    endpoint = await endpoints.begin_endpoint(call, record.endpoint_name, spec, {})
    return msgspec.structs.replace(record, endpoint_id=endpoint.id)


def _endpoint_metadata(record: ExperimentRecord, endpoint: EndpointRecord | None) -> dict[str, Any]:
    if endpoint is None:
        return {"EndpointName": record.endpoint_name}
    return {
        "EndpointName": endpoint.name,
        "EndpointConfigName": endpoint.desired.config_name,
        "EndpointStatus": endpoint.status,
        "FailureReason": endpoint.failure_reason or None,
    }


def _variant_summary(
    variant: ModelVariant, record: ExperimentRecord, endpoint: EndpointRecord | None
) -> dict[str, Any]:
    return {
        "ModelName": variant.model_name,
        "VariantName": variant.variant_name,
        "InfrastructureConfig": {
            "InfrastructureType": "RealTimeInference",
            "RealTimeInferenceConfig": {
                "InstanceType": variant.instance_type,
                "InstanceCount": variant.count,
            },
        },
        "Status": variant_status(variant.variant_name, record.status, endpoint),
    }


def variant_status(name: str, experiment_status: str, endpoint: EndpointRecord | None) -> str:
    """Creating, Updating, InService, Deleting or Deleted. Pure."""
    serving = endpoint.serving.variant(name) if endpoint and endpoint.serving else None
    desired = endpoint.desired.variant(name) if endpoint else None
    if serving and desired:
        return "InService" if serving == desired else "Updating"
    if serving:
        return "Deleting"
    return "Deleted" if experiment_status in {"Stopping", "Completed", "Cancelled"} else "Creating"
