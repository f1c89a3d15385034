"""StartInferenceExperiment, StopInferenceExperiment and UpdateInferenceExperiment."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.control.call import Call, Params, move_endpoint, move_experiment
from gnomon.control.operations.experiment_specs import (
    keep_config,
    new_config_name,
    promoted_spec,
    resized,
    retained_spec,
    test_spec,
)
from gnomon.control.operations.experiments import (
    capture_of,
    find_experiment,
    split_variants,
)
from gnomon.control.operations.schedules import MAX_SPAN_S, check_span
from gnomon.control.quotas import check_instances
from gnomon.control.switch import begin_ending
from gnomon.errors import Conflict, ValidationFailed
from gnomon.model.experiment import Ending, ExperimentPlan, ModelVariant
from gnomon.model.records import EndpointRecord, ExperimentRecord
from gnomon.model.spec import EndpointSpec
from gnomon.store.state.resources import ENDPOINTS


async def start_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    record = await find_experiment(call, params["Name"])
    if record.status != "Created":
        raise Conflict(
            f"The inference experiment {record.name} is {record.status}; only one that is Created "
            "can be started."
        )
    plan = msgspec.structs.replace(
        record.plan,
        starts_at_s=call.now_s,
        ends_at_s=min(record.plan.ends_at_s, call.now_s + MAX_SPAN_S),
    )
    await move_experiment(call, record, "Starting", None, plan=plan)
    return {"InferenceExperimentArn": record.arn}


async def stop_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    record = await find_experiment(call, params["Name"])
    if record.status != "Running":
        advice = (
            " Withdraw it with DeleteInferenceExperiment." if record.status == "Created" else ""
        )
        raise Conflict(
            f"The inference experiment {record.name} is {record.status}; only one that is Running "
            f"can be stopped.{advice}"
        )
    endpoint = await _endpoint_of(call, record)
    actions = final_actions(params["ModelVariantActions"], record.plan)
    target = _target(actions, record, endpoint)
    target = _with_desired_sizes(target, params.get("DesiredModelVariants"))
    await check_instances(call, endpoint.desired, target)
    if target != record.plan.former:
        # Going back in another size, too, is a state of its own, under a name of its own.
        target = msgspec.structs.replace(target, config_name=new_config_name(record.name))
        await keep_config(call, record, target)
    ending = Ending(
        outcome="Completed" if params.get("DesiredState") == "Completed" else "Cancelled",
        reason=params.get("Reason") or "",
        target=target,
        barrier_id=call.new_id(),
        since_s=call.steady_s,
    )
    await begin_ending(call, record, endpoint, ending)
    return {"InferenceExperimentArn": record.arn}


async def update_inference_experiment(call: Call, params: Params) -> dict[str, Any]:
    record = await find_experiment(call, params["Name"])
    if record.status not in {"Created", "Running"}:
        raise Conflict(
            f"The inference experiment {record.name} is {record.status}; only one that is Created "
            "or Running can be updated."
        )
    running = record.status == "Running"
    plan = await _updated_plan(call, record, params, running=running)
    plan = msgspec.structs.replace(plan, resume_status=record.status)
    record = await move_experiment(call, record, "Updating", None, plan=plan)
    if running:
        endpoint = await _endpoint_of(call, record)
        assert plan.former is not None, "a running experiment has kept the former state"
        sampling_changed = plan.sampling_percentage != _running_percentage(endpoint)
        name = new_config_name(record.name) if sampling_changed else endpoint.desired.config_name
        running_test = endpoint.desired.experiment
        noise_share = running_test.noise_share if running_test else 0.0
        spec = test_spec(record, plan.former, name, noise_share)
        if sampling_changed:
            await keep_config(call, record, spec)
        if spec != endpoint.desired:
            await move_endpoint(
                call,
                endpoint,
                "Updating",
                f"update of the inference experiment {record.name}",
                desired=spec,
                changing_since_s=call.steady_s,
            )
    return {"InferenceExperimentArn": record.arn}


def final_actions(actions: Params, plan: ExperimentPlan) -> tuple[str, str]:
    """What becomes of production and of the shadow. Raises ValidationFailed where it cannot be."""
    production, shadow = plan.production.variant_name, plan.shadow.variant_name
    for name in actions:
        if name not in {production, shadow}:
            raise ValidationFailed(
                f"ModelVariantActions names {name}, which is no variant of this experiment "
                f"({production}, {shadow})."
            )
    of_production, of_shadow = actions.get(production), actions.get(shadow)
    if of_production == "Promote":
        raise ValidationFailed(f"{production} cannot be promoted: it is production already.")
    if of_shadow == "Promote":
        if of_production == "Retain":
            raise ValidationFailed(
                f"{production} cannot be retained while {shadow} is promoted: one production "
                "variant can remain."
            )
        return "Remove", "Promote"
    if of_production == "Remove":
        raise ValidationFailed(
            f"{production} cannot be removed unless {shadow} is promoted: no production variant "
            "would remain."
        )
    both = of_production == "Retain" and of_shadow == "Retain"
    return "Retain", "Retain" if both else "Remove"


def _target(
    actions: tuple[str, str], record: ExperimentRecord, endpoint: EndpointRecord
) -> EndpointSpec:
    assert record.plan.former is not None, "a running experiment has kept the former state"
    if actions[1] == "Promote":
        return promoted_spec(endpoint.desired)
    if actions[1] == "Retain":
        return retained_spec(endpoint.desired)
    return record.plan.former


def _with_desired_sizes(target: EndpointSpec, desired: list[Params] | None) -> EndpointSpec:
    sizes: dict[str, tuple[str, int]] = {}
    for item in desired or []:
        if item["VariantName"] in sizes:
            raise ValidationFailed(f"DesiredModelVariants names {item['VariantName']} twice.")
        variant = target.variant(item["VariantName"])
        if variant is None:
            raise ValidationFailed(
                f"DesiredModelVariants names {item['VariantName']}, which does not stay."
            )
        if item["ModelName"] != variant.model_name:
            raise ValidationFailed(
                f"The variant {variant.name} serves the model {variant.model_name}, not "
                f"{item['ModelName']}."
            )
        config = item["InfrastructureConfig"]["RealTimeInferenceConfig"]
        if config["InstanceCount"] < 1:
            raise ValidationFailed(f"Variant {variant.name} needs an InstanceCount of at least 1.")
        sizes[variant.name] = (config["InstanceType"], config["InstanceCount"])
    return resized(target, sizes)


async def _updated_plan(
    call: Call, record: ExperimentRecord, params: Params, *, running: bool
) -> ExperimentPlan:
    plan = record.plan
    schedule = params.get("Schedule") or {}
    start, end = schedule.get("StartTime"), schedule.get("EndTime")
    starts_at_s = plan.starts_at_s if start is None else start.timestamp()
    ends_at_s = plan.ends_at_s if end is None else end.timestamp()
    # Callers send back what Describe gave, whose times have lost their fractions on the way.
    if abs(starts_at_s - plan.starts_at_s) < 1:
        starts_at_s = plan.starts_at_s
    if abs(ends_at_s - plan.ends_at_s) < 1:
        ends_at_s = plan.ends_at_s
    if running and starts_at_s != plan.starts_at_s:
        raise ValidationFailed("Schedule.StartTime cannot be changed while the experiment runs.")
    if (starts_at_s, ends_at_s) != (plan.starts_at_s, plan.ends_at_s):
        check_span(starts_at_s, ends_at_s, call.now_s)
    production, shadow, percentage = _updated_variants(plan, params)
    storage = params.get("DataStorageConfig", plan.data_storage)
    if running:
        for member, changed in (
            ("ModelVariants", (production, shadow) != (plan.production, plan.shadow)),
            ("DataStorageConfig", storage != plan.data_storage),
        ):
            if changed:
                raise ValidationFailed(f"{member} cannot be changed while the experiment runs.")
    return msgspec.structs.replace(
        plan,
        description=params.get("Description", plan.description),
        starts_at_s=starts_at_s,
        ends_at_s=ends_at_s,
        production=production,
        shadow=shadow,
        sampling_percentage=percentage,
        data_storage=storage,
        capture_id=plan.capture_id
        if storage == plan.data_storage
        else await capture_of(call, storage, plan.role_arn),
    )


def _updated_variants(
    plan: ExperimentPlan, params: Params
) -> tuple[ModelVariant, ModelVariant, int]:
    """The variants as an update wants them: their models stay. Pure."""
    shadow_mode = params.get("ShadowModeConfig")
    items = params.get("ModelVariants")
    current = {plan.production.model_name: plan.production, plan.shadow.model_name: plan.shadow}
    variants = [plan.production, plan.shadow]
    if items:
        variants = []
        for item in items:
            by_name = [
                v for v in (plan.production, plan.shadow) if v.variant_name == item["VariantName"]
            ]
            base = by_name[0] if by_name else current.get(item["ModelName"])
            if base is None or base.model_name != item["ModelName"]:
                raise ValidationFailed(
                    f"ModelVariants: the model of {item['VariantName']} cannot be changed."
                )
            config = item["InfrastructureConfig"]["RealTimeInferenceConfig"]
            if config["InstanceCount"] < 1:
                raise ValidationFailed(
                    f"Variant {item['VariantName']} needs an InstanceCount of at least 1."
                )
            variants.append(
                msgspec.structs.replace(
                    base,
                    variant_name=item["VariantName"],
                    instance_type=config["InstanceType"],
                    count=config["InstanceCount"],
                )
            )
    if shadow_mode is None:
        shadow_mode = {
            "SourceModelVariantName": plan.production.variant_name,
            "ShadowModelVariants": [
                {
                    "ShadowModelVariantName": plan.shadow.variant_name,
                    "SamplingPercentage": plan.sampling_percentage,
                }
            ],
        }
    production, shadow, percentage = split_variants(variants, shadow_mode)
    if production.variant_name != plan.production.variant_name:
        raise ValidationFailed("ShadowModeConfig.SourceModelVariantName cannot be changed.")
    return production, shadow, percentage


def _running_percentage(endpoint: EndpointRecord) -> int:
    return round(endpoint.desired.shadow_share * 100)


async def _endpoint_of(call: Call, record: ExperimentRecord) -> EndpointRecord:
    endpoint = await ENDPOINTS.get(call.connection, record.endpoint_id)
    if endpoint is None:
        raise Conflict(f"The endpoint {record.endpoint_name} does not exist any more.")
    return endpoint
