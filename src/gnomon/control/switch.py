"""An experiment's two swaps of its endpoint's configuration, each within one transaction."""

from __future__ import annotations

import msgspec

from gnomon.control.call import Call, move_endpoint, move_experiment
from gnomon.control.operations.experiment_specs import keep_config, new_config_name, test_spec
from gnomon.control.quotas import check_instances
from gnomon.model.experiment import Ending
from gnomon.model.records import EndpointRecord, ExperimentRecord
from gnomon.store.state.analyses import analyses_of
from gnomon.store.state.resources import EXPERIMENTS


async def begin_test(call: Call, record: ExperimentRecord, endpoint: EndpointRecord) -> None:
    """Keeps the endpoint's whole former state in the experiment and swaps the test in.

    Raises ResourceLimitExceeded, with nothing changed, if there is no room for its instances.
    """
    plan = msgspec.structs.replace(record.plan, former=endpoint.desired)
    record = msgspec.structs.replace(record, plan=plan, modified_at_s=call.now_s)
    own = (await analyses_of(call.connection, [record.id])).get(record.id)
    noise_share = own.settings.noise_share if own else 0.0
    spec = test_spec(record, endpoint.desired, new_config_name(record.name), noise_share)
    await check_instances(call, endpoint.desired, spec)
    await keep_config(call, record, spec)
    await EXPERIMENTS.put(call.connection, record)
    await move_endpoint(
        call,
        endpoint,
        "Updating",
        f"start of the inference experiment {record.name}",
        desired=spec,
        failure_reason="",
        changing_since_s=call.steady_s,
    )


async def begin_ending(
    call: Call, record: ExperimentRecord, endpoint: EndpointRecord, ending: Ending
) -> None:
    """Swaps in what the test ends with; the snapshot without the test carries its barrier."""
    plan = msgspec.structs.replace(record.plan, ending=ending)
    if record.status == "Stopping":
        changed = msgspec.structs.replace(record, plan=plan, modified_at_s=call.now_s)
        await EXPERIMENTS.put(call.connection, changed)
    else:
        await move_experiment(call, record, "Stopping", None, plan=plan)
    target = msgspec.structs.replace(ending.target, barriers=(ending.barrier_id,))
    await move_endpoint(
        call,
        endpoint,
        "Updating",
        f"end of the inference experiment {record.name}",
        desired=target,
        failure_reason="",
        changing_since_s=call.steady_s,
    )
