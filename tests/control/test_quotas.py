"""Quotas: nothing is limited by default; what passes one is ResourceLimitExceeded."""

import datetime as dt

import pytest

from gnomon.settings import QuotaSettings
from gnomon.testing.control import CallRefused, FakeClock, running_control
from gnomon.testing.requests import (
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
    model_variant,
)

TYPE = "ml.m5.xlarge"


@pytest.fixture
async def limited(tmp_path, machine):
    quotas = QuotaSettings(endpoints=2, experiments=1, instances={TYPE: 3, "ml.m4.xlarge": 0})
    async with running_control(tmp_path, machine, FakeClock(), quotas=quotas) as running:
        yield running


async def refused(control, operation, **params):
    with pytest.raises(CallRefused) as caught:
        await control.call(operation, **params)
    assert caught.value.code == "ResourceLimitExceeded"
    return caught.value.message


async def test_instances_are_counted_by_their_type(limited):
    await make_endpoint(limited, count=2)
    await make_config(limited, "more", "prod", count=2)
    message = await refused(
        limited, "CreateEndpoint", EndpointName="second", EndpointConfigName="more"
    )
    assert message == (
        f"The account-level service limit '{TYPE} for endpoint usage' is 3 Instances, with current "
        "utilization of 2 Instances and a request delta of 2 Instances. Delete what is not needed, "
        f'or allow more: set "{TYPE}" in [quotas.instances] of gnomon.toml.'
    )
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 4}
    await refused(
        limited,
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="ep",
        DesiredWeightsAndCapacities=[change],
    )
    await limited.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="more")
    await limited.until_endpoint("ep", "InService")


async def test_a_type_without_an_entry_is_not_limited_and_one_of_none_is(limited):
    await make_model(limited, "m")
    for type_, taken in (("ml.c5.large", True), ("ml.m4.xlarge", False)):
        await limited.call(
            "CreateEndpointConfig",
            EndpointConfigName=type_.replace(".", "-"),
            ProductionVariants=[
                {
                    "VariantName": "A",
                    "ModelName": "m",
                    "InstanceType": type_,
                    "InitialInstanceCount": 5,
                }
            ],
        )
        request = {"EndpointName": "e", "EndpointConfigName": type_.replace(".", "-")}
        if taken:
            await limited.call("CreateEndpoint", **request)
            await limited.until_endpoint("e", "InService")
        else:
            request["EndpointName"] = "f"
            assert "is 0 Instances" in await refused(limited, "CreateEndpoint", **request)


async def test_endpoints_are_counted(limited):
    await make_endpoint(limited)
    for name in ("second", "third"):
        await make_model(limited, name)
        await make_config(limited, name, name)
    await limited.call("CreateEndpoint", EndpointName="second", EndpointConfigName="second")
    message = await refused(
        limited, "CreateEndpoint", EndpointName="third", EndpointConfigName="third"
    )
    assert "'endpoints' is 2 Endpoints" in message


async def test_unfinished_experiments_are_counted(limited):
    await make_endpoint(limited)
    await make_endpoint(limited, "other", model="third")
    await make_model(limited, "shad")
    await limited.call("CreateInferenceExperiment", **experiment_request())
    await limited.until_experiment("exp", "Running")
    request = experiment_request(
        "second",
        EndpointName="other",
        ModelVariants=[model_variant("third", "AllTraffic"), model_variant("shad", "Shadow-01")],
    )
    assert "inference experiments' is 1" in await refused(
        limited, "CreateInferenceExperiment", **request
    )
    await limited.call(
        "StopInferenceExperiment", Name="exp", ModelVariantActions={"Shadow-01": "Remove"}
    )
    await limited.until_experiment("exp", "Cancelled")
    await limited.call("CreateInferenceExperiment", **request)
    await limited.until_experiment("second", "Running")


async def test_a_shadow_that_there_is_no_room_for_is_refused(limited):
    await make_endpoint(limited, count=3)
    await make_model(limited, "shad")
    variants = [model_variant("prod", "AllTraffic", 3), model_variant("shad", "Shadow-01")]
    message = await refused(
        limited, "CreateInferenceExperiment", **experiment_request(ModelVariants=variants)
    )
    assert "request delta of 1 Instances" in message


async def test_a_scheduled_test_without_room_at_its_start_is_cancelled_and_production_serves(
    limited,
):
    await make_endpoint(limited)
    await make_model(limited, "shad")
    start = dt.datetime.fromtimestamp(limited.clock.now_s() + 600, dt.UTC)
    await limited.call(
        "CreateInferenceExperiment", **experiment_request(Schedule={"StartTime": start})
    )
    await limited.until_experiment("exp", "Created")
    await make_model(limited, "other")
    await make_config(limited, "other", "other", count=2)
    await limited.call("CreateEndpoint", EndpointName="other", EndpointConfigName="other")
    await limited.until_endpoint("other", "InService")
    limited.clock.shift_s = 601
    found = await limited.until_experiment("exp", "Cancelled")
    assert 'set "ml.m5.xlarge" in [quotas.instances]' in found["StatusReason"]
    assert found["StatusReason"].endswith("Create the test again then.")
    endpoint = await limited.call("DescribeEndpoint", EndpointName="ep")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == (
        "InService",
        "ep-config",
    )
