"""UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpoint: what a user changes."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.control.call import Call, Params, move_endpoint
from gnomon.control.operations.endpoint_configs import find_endpoint_config
from gnomon.control.operations.endpoint_specs import resolve
from gnomon.control.operations.endpoints import check_changeable, find_endpoint
from gnomon.control.quotas import check_instances
from gnomon.errors import ValidationFailed
from gnomon.model.lifecycle import ACTIVE_EXPERIMENT
from gnomon.model.records import EndpointRecord
from gnomon.model.spec import EndpointSpec, VariantSpec
from gnomon.store.state.resources import EXPERIMENTS


async def update_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    config = await find_endpoint_config(call, params["EndpointConfigName"])
    check_changeable(record)
    await _check_no_experiment(call, record)
    former = record.serving or record.desired
    spec = await resolve(call, config, former)
    if params.get("RetainAllVariantProperties"):
        excluded = {
            item["VariantPropertyType"]
            for item in params.get("ExcludeRetainedVariantProperties") or []
        }
        spec = _retaining(spec, former, excluded)
        _check_weights(spec)
    await _change(
        call,
        record,
        spec,
        f"UpdateEndpoint to {config.name}",
        deployment=params.get("DeploymentConfig")
        or (record.deployment if params.get("RetainDeploymentConfig") else None),
    )
    return {"EndpointArn": record.arn}


async def update_weights_and_capacities(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    check_changeable(record)
    await _check_no_experiment(call, record)
    wanted = _by_variant(params["DesiredWeightsAndCapacities"], record.desired)

    def changed(variant: VariantSpec) -> VariantSpec:
        item = wanted.get(variant.name, {})
        return msgspec.structs.replace(
            variant,
            weight=float(item.get("DesiredWeight", variant.weight)),
            count=item.get("DesiredInstanceCount", variant.count),
        )

    spec = _each(record.desired, changed)
    _check_weights(spec)
    await _change(call, record, spec, "UpdateEndpointWeightsAndCapacities")
    return {"EndpointArn": record.arn}


async def delete_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    if record.status == "Deleting":
        return {}
    if record.status in {"Creating", "Updating"}:
        raise ValidationFailed(f'Cannot update in-progress endpoint "{record.arn}".')
    await _check_no_experiment(call, record)
    await move_endpoint(call, record, "Deleting", "DeleteEndpoint", changing_since_s=call.steady_s)
    return {}


async def _change(
    call: Call, record: EndpointRecord, spec: EndpointSpec, reason: str, **changes: Any
) -> None:
    await check_instances(call, record.desired, spec)
    await move_endpoint(
        call,
        record,
        "Updating",
        reason,
        desired=spec,
        failure_reason="",
        changing_since_s=call.steady_s,
        **changes,
    )


def _by_variant(items: list[Params], spec: EndpointSpec) -> dict[str, Params]:
    """The items by the variants that they name. Raises ValidationFailed in SageMaker's words."""
    wanted: dict[str, Params] = {}
    unknown = []
    for item in items:
        name = item["VariantName"]
        if name in wanted:
            raise ValidationFailed(f'The variant name "{name}" was non-unique within the request.')
        wanted[name] = item
        if spec.variant(name) is None:
            unknown.append(name)
        if item.get("DesiredInstanceCount") == 0:
            raise ValidationFailed(f"Variant {name} needs a DesiredInstanceCount of at least 1.")
    if unknown:
        raise ValidationFailed(
            f'The variant name(s) "{", ".join(unknown)}" is/are not present within endpoint '
            f'configuration "{spec.config_name}".'
        )
    return wanted


def _check_weights(spec: EndpointSpec) -> None:
    """A shadow's share is of production's weight, which cannot be none then."""
    if spec.shadow and sum(variant.weight for variant in spec.production) <= 0:
        raise ValidationFailed(
            "The production variant's weight must be greater than 0 beside a shadow."
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


def _retaining(spec: EndpointSpec, former: EndpointSpec, excluded: set[str]) -> EndpointSpec:
    def keep(variant: VariantSpec) -> VariantSpec:
        before = former.variant(variant.name)
        if before is None:
            return variant
        return msgspec.structs.replace(
            variant,
            count=variant.count if "DesiredInstanceCount" in excluded else before.count,
            weight=variant.weight if "DesiredWeight" in excluded else before.weight,
        )

    spec = _each(spec, keep)
    if "DataCaptureConfig" in excluded:
        return spec
    return msgspec.structs.replace(spec, captures=former.captures, data_capture=former.data_capture)


def _each(spec: EndpointSpec, change: Any) -> EndpointSpec:
    return msgspec.structs.replace(
        spec,
        production=tuple(change(variant) for variant in spec.production),
        shadow=change(spec.shadow) if spec.shadow else None,
        barriers=(),
    )
