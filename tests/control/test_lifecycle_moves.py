"""The experiments' table of lifecycles through the API: each legal move reaches its status, each
other one is refused and changes nothing.
"""

import datetime as dt

import pytest

from gnomon.control.call import move_endpoint, move_experiment
from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT, INSTANCE, IllegalTransition
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS
from gnomon.testing.builders import a_plan, an_endpoint, an_experiment
from gnomon.testing.control import CallRefused
from gnomon.testing.requests import (
    experiment_request,
    make_endpoint,
    make_model,
    model_variant,
    shadow_mode,
)

STOP = {"ModelVariantActions": {"AllTraffic": "Retain", "Shadow": "Remove"}}
# Which statuses each operation takes, and what it leaves; any other is a ConflictException.
MOVES = {
    "StartInferenceExperiment": ({}, {"Created": "Starting"}),
    "StopInferenceExperiment": (STOP, {"Running": "Stopping"}),
    "UpdateInferenceExperiment": (
        {"Description": "new"},
        {"Created": "Updating", "Running": "Updating"},
    ),
    "DeleteInferenceExperiment": ({}, {"Created": None, "Completed": None, "Cancelled": None}),
}


@pytest.fixture
async def still(control):
    """Control without its loop: what an operation leaves stays as it is."""
    await control.rest()
    return control


async def keep(control, status):
    far_s = control.clock.now_s() + 86_400
    plan = a_plan(
        starts_at_s=far_s,
        ends_at_s=far_s + 1000,
        former=an_endpoint().desired if status in {"Running", "Stopping"} else None,
    )
    async with control.transactions.call() as call:
        await ENDPOINTS.add(call.connection, an_endpoint())
        await EXPERIMENTS.add(call.connection, an_experiment(status=status, plan=plan))


@pytest.mark.parametrize("status", EXPERIMENT.statuses)
@pytest.mark.parametrize("operation", MOVES)
async def test_an_operation_takes_its_statuses_and_no_other(still, operation, status):
    params, taken = MOVES[operation]
    await keep(still, status)
    async with still.transactions.database.reading() as connection:
        before = await EXPERIMENTS.find(connection, "experiment")
    if status in taken:
        await still.call(operation, Name="experiment", **params)
    else:
        with pytest.raises(CallRefused) as refused:
            await still.call(operation, Name="experiment", **params)
        assert refused.value.code == "ConflictException"
        assert status in refused.value.message
    async with still.transactions.database.reading() as connection:
        after = await EXPERIMENTS.find(connection, "experiment")
        endpoint = await ENDPOINTS.find(connection, "endpoint")
    if status in taken:
        assert (after and after.status) == taken[status]
    else:
        assert after == before
        assert endpoint == an_endpoint()


@pytest.mark.parametrize("operation", MOVES)
async def test_an_experiment_that_is_not_there_is_not_found(still, operation):
    params, _ = MOVES[operation]
    with pytest.raises(CallRefused) as refused:
        await still.call(operation, Name="none", **params)
    assert refused.value.code == "ResourceNotFound"


PAIRS = [
    (lifecycle, before, after)
    for lifecycle in (ENDPOINT, EXPERIMENT, INSTANCE)
    for before in (None, *lifecycle.statuses)
    for after in lifecycle.statuses
]


@pytest.mark.parametrize(
    ("lifecycle", "before", "after"), [pair for pair in PAIRS if not pair[0].allows(*pair[1:])]
)
def test_a_move_that_no_row_has_is_illegal(lifecycle, before, after):
    with pytest.raises(IllegalTransition):
        lifecycle.check(before, after)


@pytest.mark.parametrize("after", ["Created", "Creating", "Starting", "Completed", "Updating"])
async def test_an_illegal_move_changes_no_row(still, after):
    await keep(still, "Cancelled")
    with pytest.raises(IllegalTransition):
        async with still.transactions.call() as call:
            record = await EXPERIMENTS.find(call.connection, "experiment")
            await move_endpoint(
                call, await ENDPOINTS.find(call.connection, "endpoint"), "Updating", ""
            )
            await move_experiment(call, record, after, "")
    async with still.transactions.database.reading() as connection:
        assert (await EXPERIMENTS.find(connection, "experiment")).status == "Cancelled"
        # What the same transaction had changed before is taken back.
        assert (await ENDPOINTS.find(connection, "endpoint")).status == "InService"


def at(control, seconds):
    return dt.datetime.fromtimestamp(control.clock.now_s() + seconds, dt.UTC)


async def test_an_update_of_a_scheduled_test_changes_everything_but_the_models(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    request = experiment_request(Schedule={"StartTime": at(control, 600)})
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    changes = {
        "Description": "other",
        "Schedule": {
            "StartTime": at(control, 900).replace(microsecond=0),
            "EndTime": at(control, 9000).replace(microsecond=0),
        },
        "ModelVariants": [
            model_variant("prod", "AllTraffic", 2),
            model_variant("shad", "Renamed", 3),
        ],
        "ShadowModeConfig": {
            "SourceModelVariantName": "AllTraffic",
            "ShadowModelVariants": [{"ShadowModelVariantName": "Renamed", "SamplingPercentage": 7}],
        },
        "DataStorageConfig": {"Destination": "s3://bucket/other"},
    }
    await control.call("UpdateInferenceExperiment", Name="exp", **changes)
    found = await control.until_experiment("exp", "Created")
    for variant in found["ModelVariants"]:
        del variant["Status"]
    assert {name: found[name] for name in changes} == changes
    with pytest.raises(CallRefused, match="model of AllTraffic cannot be changed") as refused:
        await control.call(
            "UpdateInferenceExperiment",
            Name="exp",
            ModelVariants=[
                model_variant("shad", "AllTraffic"),
                model_variant("shad", "Renamed"),
            ],
        )
    assert refused.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({"StartTime": 600, "EndTime": 600}, "must be after"),
        ({"StartTime": 600, "EndTime": 599}, "must be after"),
        ({"EndTime": -1}, "in the future"),
        ({"StartTime": -600, "EndTime": -300}, "in the future"),
        ({"StartTime": 600, "EndTime": 600 + 30 * 86_400 + 1}, "30 days"),
        ({"EndTime": 30 * 86_400 + 60}, "30 days"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(control, schedule, sentence):
    await make_endpoint(control)
    await make_model(control, "shad")
    now = at(control, 0).replace(microsecond=0)
    times = {name: now + dt.timedelta(seconds=value) for name, value in schedule.items()}
    with pytest.raises(CallRefused, match=sentence) as refused:
        await control.call("CreateInferenceExperiment", **experiment_request(Schedule=times))
    assert refused.value.code == "ValidationException"


async def test_a_start_time_alone_lasts_seven_days_and_an_early_start_thirty_at_most(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    start = at(control, 86_400).replace(microsecond=0)
    request = experiment_request(Schedule={"StartTime": start})
    await control.call("CreateInferenceExperiment", **request)
    found = await control.until_experiment("exp", "Created")
    assert found["Schedule"] == {"StartTime": start, "EndTime": start + dt.timedelta(days=7)}
    end = start + dt.timedelta(days=30)
    await control.call("UpdateInferenceExperiment", Name="exp", Schedule={"EndTime": end})
    await control.until_experiment("exp", "Created")
    await control.call("StartInferenceExperiment", Name="exp")
    found = await control.until_experiment("exp", "Running")
    span = found["Schedule"]["EndTime"] - found["Schedule"]["StartTime"]
    assert span == dt.timedelta(days=30)
    assert found["Schedule"]["EndTime"] < end


async def test_a_thirty_day_test_takes_no_thirty_days(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    start = at(control, 86_400).replace(microsecond=0)
    schedule = {"StartTime": start, "EndTime": start + dt.timedelta(days=30)}
    request = experiment_request(Schedule=schedule, ShadowModeConfig=shadow_mode(5))
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    for day, status in ((1.0, "Running"), (30.9, "Running"), (31.1, "Completed")):
        control.clock.shift_s = day * 86_400 + 1
        await control.until_experiment("exp", status)
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert endpoint["EndpointConfigName"] == "ep-config"
