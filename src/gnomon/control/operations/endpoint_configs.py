"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gnomon.control.call import Call, Params
from gnomon.control.operations.listing import page
from gnomon.control.operations.models import find_model
from gnomon.control.operations.tags import tags_of
from gnomon.errors import ValidationFailed
from gnomon.model.arn import ENDPOINT_CONFIG
from gnomon.model.records import EndpointConfigRecord
from gnomon.store.state.resources import ENDPOINT_CONFIGS


async def create_endpoint_config(call: Call, params: Params) -> dict[str, Any]:
    name = params["EndpointConfigName"]
    arn = call.account.arn(ENDPOINT_CONFIG, name)
    if await ENDPOINT_CONFIGS.find(call.connection, name):
        raise ValidationFailed(f'Cannot create already existing endpoint configuration "{arn}".')
    await _check(call, params)
    record = EndpointConfigRecord(
        id=call.new_id(),
        name=name,
        arn=arn,
        created_at_s=call.now_s,
        tags=tags_of(params),
        request={key: value for key, value in params.items() if key != "Tags"},
    )
    await ENDPOINT_CONFIGS.add(call.connection, record)
    return {"EndpointConfigArn": arn}


async def describe_endpoint_config(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint_config(call, params["EndpointConfigName"])
    return {
        **record.request,
        "EndpointConfigArn": record.arn,
        "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
    }


async def list_endpoint_configs(call: Call, params: Params) -> dict[str, Any]:
    shown, token = await page(call.connection, ENDPOINT_CONFIGS, params)
    return {
        "EndpointConfigs": [
            {
                "EndpointConfigName": record.name,
                "EndpointConfigArn": record.arn,
                "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
            }
            for record in shown
        ],
        "NextToken": token,
    }


async def delete_endpoint_config(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint_config(call, params["EndpointConfigName"])
    await ENDPOINT_CONFIGS.remove(call.connection, record.id)
    return {}


async def find_endpoint_config(call: Call, name: str) -> EndpointConfigRecord:
    """The configuration of this name. Raises ValidationFailed in SageMaker's words."""
    record = await ENDPOINT_CONFIGS.find(call.connection, name)
    if record is None:
        arn = call.account.arn(ENDPOINT_CONFIG, name)
        raise ValidationFailed(f'Could not find endpoint configuration "{arn}".')
    return record


async def _check(call: Call, params: Params) -> None:
    production = params["ProductionVariants"]
    shadows = params.get("ShadowProductionVariants") or []
    if len(shadows) > 1:
        raise ValidationFailed("ShadowProductionVariants must name one variant at most.")
    if shadows and len(production) > 1:
        raise ValidationFailed("ShadowProductionVariants needs exactly one production variant.")
    names: set[str] = set()
    for variant in [*production, *shadows]:
        name = variant["VariantName"]
        if name.lower() in names:
            raise ValidationFailed(f'The variant name "{name}" was non-unique within the request.')
        names.add(name.lower())
        for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
            if not variant.get(member):
                raise ValidationFailed(f"Variant {name} needs {member}.")
        await find_model(call, variant["ModelName"])
    strategies = {
        variant["RoutingConfig"]["RoutingStrategy"]
        for variant in production
        if variant.get("RoutingConfig")
    }
    if len(strategies) > 1:
        raise ValidationFailed(
            "The production variants must have one RoutingConfig.RoutingStrategy between them."
        )
    if shadows and production[0].get("InitialVariantWeight", 1.0) <= 0:
        raise ValidationFailed(
            "The production variant's InitialVariantWeight must be greater than 0 beside a shadow."
        )
