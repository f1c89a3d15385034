"""How tests end: every row of ModelVariantActions, with and without DesiredModelVariants, on every
kind of endpoint, again and again; and what goes wrong before a test runs.
"""

import datetime as dt

import pytest

from gnomon.testing.control import CallRefused, FakeClock, running_control
from gnomon.testing.requests import (
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
    model_variant,
)

P, S = "AllTraffic", "Shadow-01"


async def running(control, name="exp", **members):
    await control.call("CreateInferenceExperiment", **experiment_request(name, **members))
    return await control.until_experiment(name, "Running")


async def stop(control, name="exp", **members):
    await control.call("StopInferenceExperiment", Name=name, **members)
    return await control.until_experiment(name, "Cancelled", "Completed")


def shape(endpoint):
    """Production and shadow variants of a described endpoint: name, weight, count."""

    def variants(member):
        return [
            (v["VariantName"], v["CurrentWeight"], v["CurrentInstanceCount"])
            for v in endpoint.get(member, [])
        ]

    return variants("ProductionVariants"), variants("ShadowProductionVariants")


async def until_shape(control, expected):
    """What it is then: beside a promoted instance, one of normal weight serves at first."""

    async def is_so():
        endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
        settled = endpoint["EndpointStatus"] == "InService" and shape(endpoint) == expected
        return endpoint if settled else None

    return await control.until(is_so, f"an endpoint with {expected}")


async def with_a_plain_shadow(control):
    """An endpoint that has a shadow of its own, mirrored at 20 %."""
    await make_model(control, "prod")
    await make_model(control, "old")
    shadow = {
        "VariantName": "Old",
        "ModelName": "old",
        "InstanceType": "ml.m5.xlarge",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 0.2,
    }
    await make_config(control, "ep-config", "prod", ShadowProductionVariants=[shadow])
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="ep-config")
    await control.until_endpoint("ep", "InService")


BACK = ([(P, 1.0, 1)], [])
BOTH = ([(P, 1.0, 1)], [(S, 0.5, 1)])
PROMOTED = ([(S, 1.0, 1)], [])
ROWS = [
    ({P: "Retain", S: "Remove"}, BACK),
    ({P: "Retain"}, BACK),
    ({S: "Remove"}, BACK),
    ({P: "Retain", S: "Retain"}, BOTH),
    ({S: "Retain"}, BACK),
    ({P: "Remove", S: "Promote"}, PROMOTED),
    ({S: "Promote"}, PROMOTED),
]


@pytest.mark.parametrize("state", ["Completed", "Cancelled", None])
@pytest.mark.parametrize(("actions", "expected"), ROWS)
async def test_a_stop_leaves_what_its_actions_say(control, actions, expected, state):
    await make_endpoint(control)
    await make_model(control, "shad")
    await running(control)
    members = {"DesiredState": state} if state else {}
    found = await stop(control, ModelVariantActions=actions, Reason="because", **members)
    assert (found["Status"], found["StatusReason"]) == (state or "Cancelled", "because")
    endpoint = await until_shape(control, expected)
    assert (endpoint["EndpointConfigName"] == "ep-config") == (expected is BACK)
    await control.call("DescribeEndpointConfig", EndpointConfigName=endpoint["EndpointConfigName"])
    statuses = {v["VariantName"]: v["Status"] for v in found["ModelVariants"]}
    stays = {name for variants in expected for name, _, _ in variants}
    assert statuses == {name: "InService" if name in stays else "Deleted" for name in (P, S)}


async def test_a_test_resolves_no_image_of_production_anew(control):
    def resolution(endpoint):
        (variant,) = endpoint["ProductionVariants"]
        (image,) = variant["DeployedImages"]
        return image["ResolutionTime"]

    before = await make_endpoint(control)
    await make_model(control, "shad")
    await running(control)
    await stop(control, ModelVariantActions={P: "Retain"})
    after = await until_shape(control, BACK)
    assert after["LastModifiedTime"] > before["LastModifiedTime"]
    assert resolution(after) == resolution(before)


@pytest.mark.parametrize(("actions", "expected"), ROWS)
async def test_desired_variants_set_the_size_of_what_stays(control, actions, expected):
    await make_endpoint(control)
    await make_model(control, "shad")
    await running(control)
    models = {P: "prod", S: "shad"}
    stays = [name for variants in expected for name, _, _ in variants]
    desired = [model_variant(models[name], name, count=2) for name in stays]
    gone = [model_variant(models[name], name) for name in models if name not in stays]
    if gone:
        with pytest.raises(CallRefused, match="does not stay") as refused:
            await stop(control, ModelVariantActions=actions, DesiredModelVariants=gone)
        assert refused.value.code == "ValidationException"
    await stop(control, ModelVariantActions=actions, DesiredModelVariants=desired)
    sized = tuple([(name, weight, 2) for name, weight, _ in variants] for variants in expected)
    await until_shape(control, sized)


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        (model_variant("shad", P), "serves the model prod, not shad"),
        (model_variant("prod", P, count=0), "InstanceCount of at least 1"),
    ],
)
async def test_a_desired_variant_that_cannot_be_is_refused_and_the_test_runs_on(
    control, variant, sentence
):
    await make_endpoint(control)
    await make_model(control, "shad")
    await running(control)
    with pytest.raises(CallRefused, match=sentence):
        await stop(control, ModelVariantActions={P: "Retain"}, DesiredModelVariants=[variant])
    with pytest.raises(CallRefused, match="twice"):
        await stop(
            control,
            ModelVariantActions={P: "Retain"},
            DesiredModelVariants=[model_variant("prod", P)] * 2,
        )
    found = await control.call("DescribeInferenceExperiment", Name="exp")
    assert found["Status"] == "Running"


async def test_the_shadow_that_was_there_before_is_back_afterwards(control):
    await with_a_plain_shadow(control)
    before = await control.call("DescribeEndpoint", EndpointName="ep")
    await make_model(control, "shad")
    await running(control)
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert shape(endpoint)[1] == [(S, 0.5, 1)]
    await control.call("DeleteEndpointConfig", EndpointConfigName="ep-config")
    await control.call("DeleteModel", ModelName="old")
    await stop(control, ModelVariantActions={S: "Remove"})
    endpoint = await control.until_endpoint("ep", "InService")
    assert shape(endpoint) == shape(before) == ([(P, 1.0, 1)], [("Old", 0.2, 1)])
    assert endpoint["EndpointConfigName"] == "ep-config"


async def test_changed_weights_and_counts_are_in_force_again_after_a_test(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    change = {"VariantName": P, "DesiredInstanceCount": 2, "DesiredWeight": 4.0}
    await control.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="ep",
        DesiredWeightsAndCapacities=[change],
    )
    await control.until_endpoint("ep", "InService")
    await running(control)
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert endpoint["ProductionVariants"][0]["DesiredInstanceCount"] == 1
    assert endpoint["ShadowProductionVariants"][0]["CurrentWeight"] == 2.0
    await stop(control, ModelVariantActions={S: "Remove"})
    endpoint = await control.until_endpoint("ep", "InService")
    assert shape(endpoint) == ([(P, 4.0, 2)], [])


@pytest.mark.slow
async def test_several_tests_follow_each_other_on_one_endpoint(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await make_model(control, "third")
    await running(control, "first")
    await stop(control, "first", ModelVariantActions={S: "Promote"})
    await control.until_endpoint("ep", "InService")
    members = {
        "ModelVariants": [model_variant("shad", S), model_variant("third", "Shadow-02")],
        "ShadowModeConfig": {
            "SourceModelVariantName": S,
            "ShadowModelVariants": [
                {"ShadowModelVariantName": "Shadow-02", "SamplingPercentage": 100}
            ],
        },
    }
    for name in ("second", "again"):
        await running(control, name, **members)
        # What the first test made is what the endpoint goes back to: it stays with its record gone.
        if name == "second":
            await control.call("DeleteInferenceExperiment", Name="first")
        await stop(control, name, ModelVariantActions={"Shadow-02": "Remove"})
        endpoint = await until_shape(control, PROMOTED)
        await control.call(
            "DescribeEndpointConfig", EndpointConfigName=endpoint["EndpointConfigName"]
        )


async def test_an_endpoint_that_a_scheduled_test_makes_begins_with_production_alone(control):
    await make_model(control, "prod")
    await make_model(control, "shad")
    start = dt.datetime.fromtimestamp(control.clock.now_s() + 600, dt.UTC)
    request = experiment_request(EndpointName="fresh", Schedule={"StartTime": start})
    await control.call("CreateInferenceExperiment", **request)
    found = await control.until_experiment("exp", "Created")
    assert [v["Status"] for v in found["ModelVariants"]] == ["InService", "Creating"]
    endpoint = await control.until_endpoint("fresh", "InService")
    assert shape(endpoint) == BACK
    control.clock.shift_s = 601
    await control.until_experiment("exp", "Running")
    await stop(control, ModelVariantActions={S: "Remove"})
    endpoint = await control.until_endpoint("fresh", "InService")
    assert shape(endpoint) == BACK
    await control.call("DeleteInferenceExperiment", Name="exp")
    await control.call("DescribeEndpoint", EndpointName="fresh")


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(
    ("break_it", "said"),
    [("gone", "gone.tar.gz"), ("refused", "no room"), ("no ping", "ping health check")],
)
async def test_what_goes_wrong_before_a_test_runs_cancels_it_and_production_serves(
    tmp_path, machine, break_it, said, scheduled
):
    async with running_control(tmp_path, machine, FakeClock(), startup_time_limit_s=0.3) as control:
        await make_endpoint(control)
        (instance_id,) = machine.running()
        url = f"s3://bucket/{break_it}.tar.gz" if break_it == "gone" else "s3://bucket/m.tar.gz"
        await make_model(control, "shad", url)
        members = {}
        if scheduled:
            start = dt.datetime.fromtimestamp(control.clock.now_s() + 600, dt.UTC)
            members = {"Schedule": {"StartTime": start}}
        if break_it == "refused":
            machine.refusals = ["no room"]
        if break_it == "no ping":
            machine.first_ping_status = 500
        await control.call("CreateInferenceExperiment", **experiment_request(**members))
        if scheduled and break_it != "gone":
            await control.until_experiment("exp", "Created")
            control.clock.shift_s = 601
        found = await control.until_experiment("exp", "Cancelled")
        assert said in found["StatusReason"]
        assert "The endpoint serves on as before." in found["StatusReason"]
        assert "reate the test again" in found["StatusReason"]
        assert "CompletionTime" in found
        endpoint = await control.until_endpoint("ep", "InService")
        assert shape(endpoint) == BACK
        assert endpoint["EndpointConfigName"] == "ep-config"
        assert instance_id in machine.running()


async def test_an_endpoint_that_is_gone_at_the_start_cancels_the_test_then(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    start = dt.datetime.fromtimestamp(control.clock.now_s() + 600, dt.UTC)
    await control.call(
        "CreateInferenceExperiment", **experiment_request(Schedule={"StartTime": start})
    )
    await control.until_experiment("exp", "Created")
    await control.call("DeleteEndpoint", EndpointName="ep")

    async def gone():
        try:
            await control.call("DescribeEndpoint", EndpointName="ep")
        except CallRefused:
            return True
        return False

    await control.until(gone, "the endpoint gone")
    found = await control.call("DescribeInferenceExperiment", Name="exp")
    assert found["Status"] == "Created"
    control.clock.shift_s = 601
    found = await control.until_experiment("exp", "Cancelled")
    assert "does not exist any more. Create the test again" in found["StatusReason"]


async def test_a_window_that_passed_while_gnomon_was_down_cancels_the_test(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await make_endpoint(control)
        await make_model(control, "shad")
        start = dt.datetime.fromtimestamp(clock.now_s() + 600, dt.UTC)
        schedule = {"StartTime": start, "EndTime": start + dt.timedelta(minutes=5)}
        await control.call("CreateInferenceExperiment", **experiment_request(Schedule=schedule))
        await control.until_experiment("exp", "Created")
    clock.shift_s = 10_000
    async with running_control(tmp_path, machine, clock) as control:
        found = await control.until_experiment("exp", "Cancelled")
        assert "whole window" in found["StatusReason"]


async def test_a_single_variant_and_several_production_variants_are_no_test(control):
    await make_model(control, "prod")
    await make_model(control, "shad")
    two = [
        {
            "VariantName": name,
            "ModelName": "prod",
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 1,
        }
        for name in (P, "Second")
    ]
    await control.call("CreateEndpointConfig", EndpointConfigName="two", ProductionVariants=two)
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="two")
    with pytest.raises(CallRefused) as refused:
        await control.call("CreateInferenceExperiment", **experiment_request())
    assert refused.value.message.startswith("Cannot update in-progress endpoint ")
    await control.until_endpoint("ep", "InService")
    with pytest.raises(CallRefused, match="has 2 production variants") as refused:
        await control.call("CreateInferenceExperiment", **experiment_request())
    assert refused.value.code == "ValidationException"


async def test_an_endpoint_that_a_test_makes_and_that_fails_cancels_the_test(control):
    await make_model(control, "prod", "s3://bucket/gone.tar.gz")
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request(EndpointName="fresh"))
    found = await control.until_experiment("exp", "Cancelled")
    assert "The endpoint fresh is Failed: Failed to download" in found["StatusReason"]
    assert "Create the test again on an endpoint that is InService." in found["StatusReason"]
    assert found["EndpointMetadata"]["EndpointStatus"] == "Failed"


async def test_a_test_sizes_production_as_it_says_and_gives_the_size_back(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    variants = [model_variant("prod", P, 2), model_variant("shad", S)]
    await running(control, ModelVariants=variants)
    assert shape(await control.call("DescribeEndpoint", EndpointName="ep")) == (
        [(P, 1.0, 2)],
        [(S, 0.5, 1)],
    )
    await stop(control, ModelVariantActions={S: "Remove"})
    await until_shape(control, BACK)


async def test_a_running_test_ends_at_the_time_that_an_update_gives_it(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    found = await running(control)
    for days, sentence in ((31, "more than 30 days"), (-1, "in the future")):
        late = found["Schedule"]["StartTime"] + dt.timedelta(days=days)
        with pytest.raises(CallRefused, match=sentence) as refused:
            await control.call("UpdateInferenceExperiment", Name="exp", Schedule={"EndTime": late})
        assert refused.value.code == "ValidationException"
    end = dt.datetime.fromtimestamp(int(control.clock.now_s()) + 3600, dt.UTC)
    await control.call("UpdateInferenceExperiment", Name="exp", Schedule={"EndTime": end})
    found = await control.until_experiment("exp", "Running")
    assert found["Schedule"]["EndTime"] == end
    control.clock.shift_s = 3601
    found = await control.until_experiment("exp", "Completed")
    assert found["CompletionTime"] >= end
