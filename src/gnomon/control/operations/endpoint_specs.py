"""From an endpoint configuration's request to an endpoint's desired state, and to its captures."""

from __future__ import annotations

from typing import Any

from gnomon.control.call import Call, Params
from gnomon.control.operations.models import container_of, find_model, role_of
from gnomon.errors import ValidationFailed
from gnomon.model.records import EndpointConfigRecord
from gnomon.model.snapshot import Capture
from gnomon.model.spec import CaptureDefinition, EndpointSpec, VariantSpec
from gnomon.objects.url import ObjectUrlInvalid, parse_prefix
from gnomon.store.state.instances import add_capture


async def resolve(
    call: Call, config: EndpointConfigRecord, former: EndpointSpec | None
) -> EndpointSpec:
    """The desired state that `config` asks for; variants that `former` has keep their ids."""
    request: Any = config.request
    ids = {variant.name: variant.id for variant in former.variants} if former else {}
    kms_key = request.get("KmsKeyId") or ""
    production = [
        await _variant(call, item, ids, kms_key) for item in request["ProductionVariants"]
    ]
    shadows = [
        await _variant(call, item, ids, kms_key)
        for item in request.get("ShadowProductionVariants") or []
    ]
    routing = (request["ProductionVariants"][0].get("RoutingConfig") or {}).get("RoutingStrategy")
    return EndpointSpec(
        config_name=config.name,
        production=tuple(production),
        shadow=shadows[0] if shadows else None,
        routing=routing or "LEAST_OUTSTANDING_REQUESTS",
        captures=await _captures(
            call,
            request.get("DataCaptureConfig") or {},
            capture_role(request, production[0].role_arn),
        ),
        data_capture=request.get("DataCaptureConfig"),
        kms_key=kms_key,
        role_arn=request.get("ExecutionRoleArn") or "",
    )


def capture_role(request: Params, model_role: str) -> str:
    """The role that an endpoint's own captures are written with: that of its configuration, else
    that of the first production variant's model. Pure.
    """
    return request.get("ExecutionRoleArn") or model_role


async def _variant(call: Call, item: Params, ids: dict[str, str], kms_key: str) -> VariantSpec:
    model = await find_model(call, item["ModelName"])
    return VariantSpec(
        id=ids.get(item["VariantName"]) or call.new_id(),
        name=item["VariantName"],
        model_name=model.name,
        model_id=model.id,
        container=container_of(model.request),
        instance_type=item["InstanceType"],
        count=item["InitialInstanceCount"],
        weight=float(item.get("InitialVariantWeight", 1.0)),
        startup_time_limit_s=item.get("ContainerStartupHealthCheckTimeoutInSeconds"),
        download_time_limit_s=item.get("ModelDataDownloadTimeoutInSeconds"),
        kms_key=kms_key,
        role_arn=role_of(model.request),
    )


async def _captures(call: Call, config: Params, role_arn: str) -> tuple[Capture, ...]:
    if not config or not config.get("EnableCapture", False):
        return ()
    headers = config.get("CaptureContentTypeHeader") or {}
    capture_id = await define_capture(
        call,
        config["DestinationS3Uri"],
        headers.get("CsvContentTypes") or [],
        headers.get("JsonContentTypes") or [],
        config.get("KmsKeyId") or "",
        role_arn,
    )
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    return (
        Capture(
            id=capture_id,
            experiment_id="",
            share=config["InitialSamplingPercentage"] / 100,
            request=bool(modes & {"Input", "InputAndOutput"}),
            response=bool(modes & {"Output", "InputAndOutput"}),
        ),
    )


async def define_capture(
    call: Call,
    destination: str,
    csv_content_types: list[str],
    json_content_types: list[str],
    kms_key: str,
    role_arn: str,
) -> str:
    """Keeps where records go under a new capture id. A destination that is no place is refused."""
    try:
        parse_prefix(destination)
    except ObjectUrlInvalid as error:
        raise ValidationFailed(f"The destination cannot be used: {error}") from error
    capture_id = call.new_id()
    definition = CaptureDefinition(
        destination=destination.rstrip("/"),
        csv_content_types=tuple(csv_content_types),
        json_content_types=tuple(json_content_types),
        kms_key=kms_key,
        role_arn=role_arn,
    )
    await add_capture(call.connection, capture_id, definition)
    return capture_id
