"""Tags of every kind of resource, through AddTags, ListTags and DeleteTags."""

import pytest

from gnomon.testing.control import CallRefused
from gnomon.testing.requests import experiment_request, make_endpoint, make_model

ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def tag(key, value="v"):
    return {"Key": key, "Value": value}


async def listed(control, arn):
    answer = await control.call("ListTags", ResourceArn=arn)
    return {item["Key"]: item["Value"] for item in answer["Tags"]}


async def test_tags_are_added_replaced_and_deleted_on_every_kind_of_resource(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    for name in ("model/prod", "endpoint-config/ep-config", "endpoint/ep"):
        arn = f"{ARN}:{name}"
        added = await control.call("AddTags", ResourceArn=arn, Tags=[tag("a"), tag("b")])
        assert added["Tags"] == [tag("a"), tag("b")]
        await control.call("AddTags", ResourceArn=arn, Tags=[tag("b", "w"), tag("c", "")])
        assert await listed(control, arn) == {"a": "v", "b": "w", "c": ""}
        await control.call("DeleteTags", ResourceArn=arn, TagKeys=["a", "not there"])
        assert await listed(control, arn) == {"b": "w", "c": ""}
    arn = f"{ARN}:inference-experiment/exp"
    await control.call("AddTags", ResourceArn=arn, Tags=[tag("a")])
    found = await control.until_experiment("exp", "Running")
    assert await listed(control, found["Arn"]) == {"a": "v"}


async def test_a_tag_survives_the_changes_of_its_endpoint(control):
    await make_endpoint(control)
    arn = f"{ARN}:endpoint/ep"
    await control.call("AddTags", ResourceArn=arn, Tags=[tag("a")])
    await control.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="ep",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}],
    )
    await control.until_endpoint("ep", "InService")
    assert await listed(control, arn) == {"a": "v"}


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ([tag("a"), tag("a")], "Duplicate tag keys found: a"),
        ([tag("aws:x")], "reserved"),
        ([tag("AWS:x")], "reserved"),
        ([tag(f"k{number}") for number in range(50)], "51 tags; a resource has 50 at most"),
        ([tag("k" * 129)], "length less than or equal to 128"),
        ([tag("k", "v" * 257)], "length less than or equal to 256"),
        ([tag("k", "<")], "regular expression"),
    ],
)
async def test_tags_that_break_a_rule_are_refused_and_none_is_added(control, tags, sentence):
    await make_model(control, "m")
    await control.call("AddTags", ResourceArn=f"{ARN}:model/m", Tags=[tag("first")])
    with pytest.raises(CallRefused, match=sentence) as refused:
        await control.call("AddTags", ResourceArn=f"{ARN}:model/m", Tags=tags)
    assert refused.value.code == "ValidationException"
    assert await listed(control, f"{ARN}:model/m") == {"first": "v"}


@pytest.mark.parametrize(
    "arn",
    [
        f"{ARN}:model/other",
        f"{ARN}:endpoint/m",
        f"{ARN}:training-job/m",
        "arn:aws:sagemaker:eu-west-1:000000000000:model/m",
        "arn:aws:sagemaker:us-east-1:000000000001:model/m",
    ],
)
async def test_an_arn_of_nothing_is_refused(control, arn):
    await make_model(control, "m")
    for operation, members in (
        ("AddTags", {"Tags": [tag("a")]}),
        ("ListTags", {}),
        ("DeleteTags", {"TagKeys": ["a"]}),
    ):
        with pytest.raises(CallRefused, match="Could not find a resource") as refused:
            await control.call(operation, ResourceArn=arn, **members)
        assert refused.value.code == "ValidationException"


async def test_an_arn_is_found_without_regard_to_the_case_of_its_name(control):
    await make_model(control, "Mixed")
    assert await listed(control, f"{ARN}:model/Mixed") == {}
    assert await listed(control, f"{ARN}:model/mixed") == {}
