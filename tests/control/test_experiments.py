import datetime as dt

import pytest

from gnomon.testing.control import CallRefused, FakeClock, running_control
from gnomon.testing.requests import (
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
    model_variant,
    shadow_mode,
)


async def prepared(control, **endpoint):
    await make_endpoint(control, **endpoint)
    await make_model(control, "shad")


async def running(control, **members):
    await prepared(control)
    await control.call("CreateInferenceExperiment", **experiment_request(**members))
    return await control.until_experiment("exp", "Running")


def from_now(control, seconds):
    return dt.datetime.fromtimestamp(control.clock.now_s() + seconds, dt.UTC)


async def stop(control, actions, **members):
    await control.call(
        "StopInferenceExperiment", Name="exp", ModelVariantActions=actions, **members
    )


async def test_a_test_without_a_schedule_begins_now_and_lasts_seven_days(control):
    found = await running(control)
    schedule = found["Schedule"]
    assert schedule["EndTime"] - schedule["StartTime"] == dt.timedelta(days=7)
    assert [v["Status"] for v in found["ModelVariants"]] == ["InService", "InService"]
    assert found["EndpointMetadata"]["EndpointName"] == "ep"
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert [v["VariantName"] for v in endpoint["ShadowProductionVariants"]] == ["Shadow-01"]


async def test_every_parameter_comes_back(control):
    storage = {
        "Destination": "s3://bucket/captures",
        "ContentType": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }
    await prepared(control)
    request = experiment_request(
        Description="a description",
        DataStorageConfig=storage,
        Schedule={"StartTime": from_now(control, 600), "EndTime": from_now(control, 6000)},
        Tags=[{"Key": "team", "Value": "ranking"}],
    )
    created = await control.call("CreateInferenceExperiment", **request)
    found = await control.until_experiment("exp", "Created")
    for member in ("Name", "Type", "RoleArn", "Description", "DataStorageConfig"):
        assert found[member] == request[member]
    assert found["ShadowModeConfig"] == request["ShadowModeConfig"]
    assert [{k: v[k] for k in v if k != "Status"} for v in found["ModelVariants"]] == request[
        "ModelVariants"
    ]
    tags = await control.call("ListTags", ResourceArn=created["InferenceExperimentArn"])
    assert tags["Tags"] == request["Tags"]


async def test_the_end_of_the_schedule_gives_the_endpoint_back(control):
    before = (await make_endpoint(control))["EndpointConfigName"]
    await make_model(control, "shad")
    request = experiment_request(Schedule={"EndTime": from_now(control, 3600)})
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Running")
    control.clock.shift_s = 3600
    found = await control.until_experiment("exp", "Completed")
    assert "CompletionTime" in found
    endpoint = await control.until_endpoint("ep", "InService")
    assert endpoint["EndpointConfigName"] == before
    assert "ShadowProductionVariants" not in endpoint


async def test_a_schedule_survives_controls_restart(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await prepared(control)
        request = experiment_request(
            Schedule={"StartTime": from_now(control, 600), "EndTime": from_now(control, 6000)}
        )
        await control.call("CreateInferenceExperiment", **request)
        await control.until_experiment("exp", "Created")
    clock.shift_s = 601
    async with running_control(tmp_path, machine, clock) as control:
        await control.until_experiment("exp", "Running")
        clock.shift_s = 6001
    async with running_control(tmp_path, machine, clock) as control:
        await control.until_experiment("exp", "Completed")


async def test_promote_makes_the_shadow_production_under_its_own_name(control):
    await running(control)
    await stop(
        control,
        {"Shadow-01": "Promote", "AllTraffic": "Remove"},
        DesiredState="Completed",
        Reason="better",
    )
    found = await control.until_experiment("exp", "Completed")
    assert found["StatusReason"] == "better"
    endpoint = await control.until_endpoint("ep", "InService")
    assert [v["VariantName"] for v in endpoint["ProductionVariants"]] == ["Shadow-01"]

    async def only_one_is_left():
        return len(control.machine.running()) == 1

    await control.until(only_one_is_left, "all others stopped")
    (left,) = control.machine.running()
    spec = control.machine.instances[left].spec
    assert (spec.variant_name, spec.light) == ("Shadow-01", False)
    lights = [start.light for start in control.machine.starts if start.variant_name == "Shadow-01"]
    assert lights == [True, False]


async def test_retaining_both_leaves_a_plain_shadow(control):
    await running(control)
    await stop(control, {"AllTraffic": "Retain", "Shadow-01": "Retain"})
    await control.until_experiment("exp", "Cancelled")
    endpoint = await control.until_endpoint("ep", "InService")
    assert [v["VariantName"] for v in endpoint["ShadowProductionVariants"]] == ["Shadow-01"]
    assert endpoint["ShadowProductionVariants"][0]["CurrentWeight"] == 0.5


async def test_going_back_in_another_size_makes_a_configuration_of_its_own(control):
    await running(control)
    await stop(
        control,
        {"AllTraffic": "Retain", "Shadow-01": "Remove"},
        DesiredModelVariants=[model_variant("prod", "AllTraffic", count=2)],
    )
    await control.until_experiment("exp", "Cancelled")
    endpoint = await control.until_endpoint("ep", "InService")
    assert endpoint["EndpointConfigName"] != "ep-config"
    assert endpoint["ProductionVariants"][0]["DesiredInstanceCount"] == 2
    kept = await control.call("DescribeEndpointConfig", EndpointConfigName="ep-config")
    assert kept["ProductionVariants"][0]["InitialInstanceCount"] == 1


async def test_an_endpoint_that_was_changed_before_its_test_began_keeps_its_change(control):
    await prepared(control)
    request = experiment_request(
        Schedule={"StartTime": from_now(control, 600), "EndTime": from_now(control, 6000)}
    )
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    await make_model(control, "other")
    await make_config(control, "other-config", "other")
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="other-config")
    await control.until_endpoint("ep", "InService")
    control.clock.shift_s = 601
    found = await control.until_experiment("exp", "Cancelled")
    assert "with the model other by now" in found["StatusReason"]
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert endpoint["EndpointConfigName"] == "other-config"


async def test_going_back_needs_no_configuration_row(control):
    await running(control)
    await control.call("DeleteEndpointConfig", EndpointConfigName="ep-config")
    await stop(control, {"AllTraffic": "Retain", "Shadow-01": "Remove"})
    await control.until_experiment("exp", "Cancelled")
    endpoint = await control.until_endpoint("ep", "InService")
    assert endpoint["EndpointConfigName"] == "ep-config"


@pytest.mark.parametrize(
    ("actions", "sentence"),
    [
        ({"AllTraffic": "Retain", "Shadow-01": "Promote"}, "one production variant can remain"),
        ({"AllTraffic": "Remove", "Shadow-01": "Retain"}, "no production variant would remain"),
        ({"AllTraffic": "Remove"}, "no production variant would remain"),
        ({"AllTraffic": "Promote"}, "it is production already"),
        ({"Other": "Retain"}, "no variant of this experiment"),
    ],
)
async def test_actions_that_leave_no_sound_endpoint_are_refused(control, actions, sentence):
    await running(control)
    with pytest.raises(CallRefused, match=sentence) as refused:
        await stop(control, actions)
    assert refused.value.code == "ValidationException"


async def test_an_update_while_running_changes_sampling_without_touching_instances(control):
    await running(control)
    before = control.machine.running()
    await control.call(
        "UpdateInferenceExperiment",
        Name="exp",
        Description="less",
        ShadowModeConfig=shadow_mode(10),
    )
    found = await control.until_experiment("exp", "Running")
    assert found["Description"] == "less"
    assert found["ShadowModeConfig"] == shadow_mode(10)
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert endpoint["ShadowProductionVariants"][0]["CurrentWeight"] == pytest.approx(0.1)
    assert control.machine.running() == before


async def test_an_update_that_sends_back_what_was_described_changes_nothing(control):
    found = await running(control)
    await control.call(
        "UpdateInferenceExperiment",
        Name="exp",
        Schedule=found["Schedule"],
        ModelVariants=[
            {k: v for k, v in variant.items() if k != "Status"}
            for variant in found["ModelVariants"]
        ],
        ShadowModeConfig=found["ShadowModeConfig"],
    )
    after = await control.until_experiment("exp", "Running")
    assert after["Schedule"] == found["Schedule"]


async def test_what_may_not_change_while_running_is_named(control):
    await running(control)
    with pytest.raises(CallRefused, match="ModelVariants cannot be changed") as refused:
        await control.call(
            "UpdateInferenceExperiment",
            Name="exp",
            ModelVariants=[
                model_variant("prod", "AllTraffic"),
                model_variant("shad", "Shadow-01", count=3),
            ],
        )
    assert refused.value.code == "ValidationException"


async def test_start_begins_a_scheduled_test_early(control):
    await prepared(control)
    request = experiment_request(
        Schedule={"StartTime": from_now(control, 600), "EndTime": from_now(control, 6000)}
    )
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    await control.call("StartInferenceExperiment", Name="exp")
    await control.until_experiment("exp", "Running")


async def test_a_test_on_no_endpoint_makes_one(control):
    await make_model(control, "prod")
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request(EndpointName="fresh"))
    await control.until_experiment("exp", "Running")
    endpoint = await control.call("DescribeEndpoint", EndpointName="fresh")
    assert [v["VariantName"] for v in endpoint["ShadowProductionVariants"]] == ["Shadow-01"]


async def test_a_shadow_whose_archive_is_gone_cancels_the_test_and_production_serves(control):
    await make_endpoint(control)
    await make_model(control, "shad", "s3://bucket/gone.tar.gz")
    await control.call("CreateInferenceExperiment", **experiment_request())
    found = await control.until_experiment("exp", "Cancelled")
    assert "gone.tar.gz" in found["StatusReason"]
    endpoint = await control.call("DescribeEndpoint", EndpointName="ep")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == (
        "InService",
        "ep-config",
    )


async def test_an_endpoint_under_test_takes_no_change_of_the_users(control):
    await running(control)
    for operation, extra in (
        ("UpdateEndpoint", {"EndpointConfigName": "ep-config"}),
        ("DeleteEndpoint", {}),
    ):
        with pytest.raises(CallRefused, match="inference experiment exp runs on it"):
            await control.call(operation, EndpointName="ep", **extra)


async def test_one_endpoint_takes_one_unfinished_test(control):
    await running(control)
    with pytest.raises(CallRefused) as refused:
        await control.call("CreateInferenceExperiment", **experiment_request("second"))
    assert refused.value.code == "ResourceInUse"


async def test_a_running_test_cannot_be_deleted_and_an_ended_one_leaves_nothing(control):
    await running(control)
    with pytest.raises(CallRefused) as refused:
        await control.call("DeleteInferenceExperiment", Name="exp")
    assert refused.value.code == "ConflictException"
    await stop(control, {"AllTraffic": "Retain", "Shadow-01": "Remove"}, DesiredState="Completed")
    await control.until_experiment("exp", "Completed")
    await control.call("DeleteInferenceExperiment", Name="exp")
    with pytest.raises(CallRefused) as refused:
        await control.call("DescribeInferenceExperiment", Name="exp")
    assert refused.value.code == "ResourceNotFound"
    configs = await control.call("ListEndpointConfigs")
    assert [c["EndpointConfigName"] for c in configs["EndpointConfigs"]] == ["ep-config"]


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (
            {"ShadowModeConfig": shadow_mode(101)},
            "ValidationException",
            "less than or equal to 100",
        ),
        ({"ShadowModeConfig": shadow_mode(-1)}, "ValidationException", "from 0 to 100"),
        (
            {"ModelVariants": [model_variant("prod", "AllTraffic")]},
            "ValidationException",
            "Shadow-01 is not among ModelVariants",
        ),
        (
            {
                "ModelVariants": [
                    model_variant("shad", "AllTraffic"),
                    model_variant("shad", "Shadow-01"),
                ]
            },
            "ValidationException",
            "serves the model prod, not shad",
        ),
        (
            {
                "ModelVariants": [
                    model_variant("prod", "AllTraffic"),
                    model_variant("shad", "Shadow-01", count=0),
                ]
            },
            "ValidationException",
            "InstanceCount of at least 1",
        ),
        (
            {
                "ModelVariants": [
                    model_variant("prod", "AllTraffic", count=0),
                    model_variant("shad", "Shadow-01"),
                ]
            },
            "ValidationException",
            "AllTraffic needs an InstanceCount of at least 1",
        ),
        (
            {
                "ModelVariants": [
                    model_variant("prod", "Other"),
                    model_variant("shad", "Shadow-01"),
                ],
                "ShadowModeConfig": shadow_mode(50) | {"SourceModelVariantName": "Other"},
            },
            "ValidationException",
            "is not the endpoint's production variant, which is AllTraffic",
        ),
        (
            {"ShadowModeConfig": shadow_mode(50) | {"SourceModelVariantName": "Shadow-01"}},
            "ValidationException",
            "must be different variants",
        ),
        (
            {"Schedule": {"EndTime": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}},
            "ValidationException",
            "must be in the future",
        ),
        (
            {"DataStorageConfig": {"Destination": "https://bucket/x"}},
            "ValidationException",
            "https://bucket/x.*does not start with s3://",
        ),
        (
            {"DataStorageConfig": {"Destination": "s3://My_Bucket/x"}},
            "ValidationException",
            "My_Bucket",
        ),
    ],
)
async def test_what_cannot_be_a_test_is_refused(control, change, code, sentence):
    await prepared(control)
    with pytest.raises(CallRefused, match=sentence) as refused:
        await control.call("CreateInferenceExperiment", **experiment_request(**change))
    assert refused.value.code == code
    assert (await control.call("ListInferenceExperiments"))["InferenceExperiments"] == []


async def test_a_list_is_paged_newest_first(control):
    await prepared(control)
    for number in range(3):
        await control.call(
            "CreateModel",
            ModelName=f"m{number}",
            PrimaryContainer={"Image": "i"},
            ExecutionRoleArn="arn:aws:iam::000000000000:role/r",
        )
    first = await control.call("ListModels", MaxResults=2, NameContains="M")
    second = await control.call(
        "ListModels", MaxResults=2, NameContains="M", NextToken=first["NextToken"]
    )
    assert [m["ModelName"] for m in first["Models"] + second["Models"]] == ["m2", "m1", "m0"]
    assert "NextToken" not in second


async def test_a_token_of_another_order_is_refused(control):
    for number in range(2):
        await make_model(control, f"m{number}")
    first = await control.call("ListModels", MaxResults=1)
    with pytest.raises(CallRefused, match="NextToken") as refused:
        await control.call("ListModels", MaxResults=1, SortBy="Name", NextToken=first["NextToken"])
    assert refused.value.code == "ValidationException"
