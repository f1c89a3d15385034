"""CreateEndpoint, DescribeEndpoint, ListEndpoints, UpdateEndpoint, DeleteEndpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gnomon.control.call import Call, Params, move_endpoint
from gnomon.control.call import create_endpoint as add_endpoint
from gnomon.control.operations.endpoint_configs import find_endpoint_config
from gnomon.control.operations.endpoint_specs import resolve
from gnomon.control.operations.listing import page
from gnomon.control.operations.tags import tags_of
from gnomon.errors import ValidationFailed
from gnomon.model.arn import ENDPOINT
from gnomon.model.lifecycle import ACTIVE_EXPERIMENT
from gnomon.model.records import EndpointRecord, InstanceRecord
from gnomon.model.spec import EndpointSpec, VariantSpec
from gnomon.store.state.instances import instances_of
from gnomon.store.state.resources import ENDPOINT_CONFIGS, ENDPOINTS, EXPERIMENTS


async def create_endpoint(call: Call, params: Params) -> dict[str, Any]:
    config = await find_endpoint_config(call, params["EndpointConfigName"])
    spec = await resolve(call, config, None)
    record = await begin_endpoint(call, params["EndpointName"], spec, tags_of(params))
    return {"EndpointArn": record.arn}


async def begin_endpoint(
    call: Call, name: str, spec: EndpointSpec, tags: dict[str, str]
) -> EndpointRecord:
    """Adds an endpoint in status Creating. Raises ValidationFailed if the name is taken."""
    arn = call.account.arn(ENDPOINT, name)
    if await ENDPOINTS.find(call.connection, name):
        raise ValidationFailed(f'Cannot create already existing endpoint "{arn}".')
    record = EndpointRecord(
        id=call.new_id(),
        name=name,
        arn=arn,
        created_at_s=call.now_s,
        modified_at_s=call.now_s,
        tags=tags,
        status="Creating",
        failure_reason="",
        desired=spec,
        serving=None,
        changing_since_s=call.steady_s,
    )
    await add_endpoint(call, record)
    return record


async def describe_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    instances = await instances_of(call.connection, record.id, statuses=("InService",))
    spec = record.serving or record.desired
    return {
        "EndpointName": record.name,
        "EndpointArn": record.arn,
        "EndpointConfigName": spec.config_name,
        "ProductionVariants": [
            _variant_summary(variant, record, instances) for variant in spec.production
        ],
        "ShadowProductionVariants": [_variant_summary(spec.shadow, record, instances)]
        if spec.shadow
        else None,
        "DataCaptureConfig": await _data_capture(call, spec),
        "EndpointStatus": record.status,
        "FailureReason": record.failure_reason or None,
        "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
        "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
    }


async def list_endpoints(call: Call, params: Params) -> dict[str, Any]:
    rows = await ENDPOINTS.all(call.connection)
    shown, token = page(rows, params, default_order="Descending")
    return {
        "Endpoints": [
            {
                "EndpointName": record.name,
                "EndpointArn": record.arn,
                "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
                "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
                "EndpointStatus": record.status,
            }
            for record in shown
        ],
        "NextToken": token,
    }


async def update_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    config = await find_endpoint_config(call, params["EndpointConfigName"])
    check_changeable(record)
    await _check_no_experiment(call, record)
    former = record.serving or record.desired
    spec = await resolve(call, config, former)
    if params.get("RetainAllVariantProperties"):
        spec = _retaining(spec, former)
    await move_endpoint(
        call,
        record,
        "Updating",
        f"UpdateEndpoint to {config.name}",
        desired=spec,
        failure_reason="",
        changing_since_s=call.steady_s,
    )
    return {"EndpointArn": record.arn}


async def delete_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    if record.status == "Deleting":
        return {}
    if record.status in {"Creating", "Updating"}:
        raise ValidationFailed(f'Cannot update in-progress endpoint "{record.arn}".')
    await _check_no_experiment(call, record)
    await move_endpoint(call, record, "Deleting", "DeleteEndpoint")
    return {}


async def find_endpoint(call: Call, name: str) -> EndpointRecord:
    """The endpoint of this name. Raises ValidationFailed in the words botocore's waiters know."""
    record = await ENDPOINTS.find(call.connection, name)
    if record is None:
        raise ValidationFailed(f'Could not find endpoint "{call.account.arn(ENDPOINT, name)}".')
    return record


def check_changeable(record: EndpointRecord) -> None:
    """Raises ValidationFailed unless the endpoint is InService."""
    if record.status in {"Creating", "Updating", "Deleting"}:
        raise ValidationFailed(f'Cannot update in-progress endpoint "{record.arn}".')
    if record.status != "InService":
        raise ValidationFailed(
            f'Cannot update endpoint "{record.arn}": its status is {record.status}.'
        )


async def _check_no_experiment(call: Call, record: EndpointRecord) -> None:
    active = await EXPERIMENTS.where(
        call.connection, endpoint_id=record.id, status=ACTIVE_EXPERIMENT
    )
    running = active[0].name if active else None
    experiment = record.desired.experiment
    if running or experiment:
        raise ValidationFailed(
            f'The endpoint "{record.arn}" cannot be changed while the inference experiment '
            f"{running or (experiment and experiment.name)} runs on it. Stop the experiment first."
        )


def _retaining(spec: EndpointSpec, former: EndpointSpec) -> EndpointSpec:
    def keep(variant: VariantSpec) -> VariantSpec:
        before = former.variant(variant.name)
        if before is None:
            return variant
        return msgspec.structs.replace(variant, count=before.count, weight=before.weight)

    return msgspec.structs.replace(
        spec,
        production=tuple(keep(variant) for variant in spec.production),
        shadow=keep(spec.shadow) if spec.shadow else None,
    )


def _variant_summary(
    variant: VariantSpec, record: EndpointRecord, instances: list[InstanceRecord]
) -> dict[str, Any]:
    desired = record.desired.variant(variant.name) or variant
    current = sum(instance.variant_id == variant.id for instance in instances)
    return {
        "VariantName": variant.name,
        "DeployedImages": [
            {
                "SpecifiedImage": variant.container.image,
                "ResolvedImage": variant.container.image,
                "ResolutionTime": datetime.fromtimestamp(record.modified_at_s, UTC),
            }
        ],
        "CurrentWeight": variant.weight,
        "DesiredWeight": desired.weight,
        "CurrentInstanceCount": current,
        "DesiredInstanceCount": desired.count,
    }


async def _data_capture(call: Call, spec: EndpointSpec) -> dict[str, Any] | None:
    config = await ENDPOINT_CONFIGS.find(call.connection, spec.config_name)
    request: Any = config.request if config else {}
    capture = request.get("DataCaptureConfig")
    if not capture:
        return None
    return {
        "EnableCapture": capture.get("EnableCapture", False),
        "CaptureStatus": "Started" if capture.get("EnableCapture") else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
