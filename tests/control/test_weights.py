"""UpdateEndpointWeightsAndCapacities, what UpdateEndpoint retains, and statuses of variants."""

import pytest

from gnomon.control.operations.endpoint_views import endpoint_view, variant_status
from gnomon.testing.builders import a_spec, a_variant, an_endpoint, an_instance
from gnomon.testing.control import CallRefused
from gnomon.testing.requests import experiment_request, make_endpoint, make_model


def variant(name, model="prod", weight=1.0, count=1):
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.xlarge",
        "InitialInstanceCount": count,
        "InitialVariantWeight": weight,
    }


async def two_variants(control, **members):
    await make_model(control, "prod")
    await control.call(
        "CreateEndpointConfig",
        EndpointConfigName="two",
        ProductionVariants=[variant("A"), variant("B", weight=3.0)],
        **members,
    )
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="two")
    return await control.until_endpoint("ep", "InService")


async def change(control, *items):
    return await control.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="ep",
        DesiredWeightsAndCapacities=list(items),
    )


def figures(found):
    return {
        v["VariantName"]: (
            v["CurrentWeight"],
            v["DesiredWeight"],
            v["CurrentInstanceCount"],
            v["DesiredInstanceCount"],
        )
        for v in found["ProductionVariants"]
    }


async def test_weights_change_live_without_touching_an_instance(control):
    await two_variants(control)
    before = control.machine.running()
    answer = await change(control, {"VariantName": "B", "DesiredWeight": 0.5})
    assert answer["EndpointArn"].endswith(":endpoint/ep")
    found = await control.until_endpoint("ep", "InService")
    assert figures(found) == {"A": (1.0, 1.0, 1, 1), "B": (0.5, 0.5, 1, 1)}
    assert found["EndpointConfigName"] == "two"
    assert control.machine.running() == before


async def test_counts_grow_and_shrink_and_what_runs_stays(control):
    await two_variants(control)
    before = control.machine.running()
    await change(control, {"VariantName": "A", "DesiredInstanceCount": 3})
    found = await control.until_endpoint("ep", "InService")
    assert figures(found)["A"] == (1.0, 1.0, 3, 3)
    assert before < control.machine.running()
    await change(control, {"VariantName": "A", "DesiredInstanceCount": 1})

    async def drained():
        return len(control.machine.running()) == 2

    await control.until(drained, "two instances left")
    assert control.machine.running() == before


async def test_while_counts_grow_current_and_desired_differ(control):
    await two_variants(control)
    control.machine.refusals = ["no room"]
    await change(control, {"VariantName": "A", "DesiredInstanceCount": 2, "DesiredWeight": 7.0})
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    assert found["EndpointStatus"] == "Updating"
    assert figures(found) == {"A": (1.0, 7.0, 1, 2), "B": (3.0, 3.0, 1, 1)}
    statuses = [v.get("VariantStatus", [{}])[0].get("Status") for v in found["ProductionVariants"]]
    assert statuses == ["Updating", None]
    found = await control.until_endpoint("ep", "InService")
    assert found["FailureReason"].endswith("no room.")
    assert figures(found) == {"A": (1.0, 1.0, 1, 1), "B": (3.0, 3.0, 1, 1)}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [{"VariantName": "X"}, {"VariantName": "a"}],
            'The variant name(s) "X, a" is/are not present within endpoint configuration "two".',
        ),
        (
            [{"VariantName": "A"}, {"VariantName": "A"}],
            'The variant name "A" was non-unique within the request.',
        ),
        (
            [{"VariantName": "A", "DesiredInstanceCount": 0}],
            "Variant A needs a DesiredInstanceCount of at least 1.",
        ),
        (
            [
                {
                    "VariantName": "A",
                    "ServerlessUpdateConfig": {"MaxConcurrency": 1},
                }
            ],
            (
                "DesiredWeightsAndCapacities.1.ServerlessUpdateConfig is not supported: One or "
                "more endpoint features are not supported using this configuration."
            ),
        ),
    ],
)
async def test_what_cannot_be_changed_is_refused_in_sagemakers_words(control, items, message):
    await two_variants(control)
    with pytest.raises(CallRefused) as refused:
        await change(control, *items)
    assert (refused.value.code, refused.value.message) == ("ValidationException", message)
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    assert found["EndpointStatus"] == "InService"


async def test_production_keeps_a_weight_beside_a_shadow(control):
    await make_model(control, "prod")
    await control.call(
        "CreateEndpointConfig",
        EndpointConfigName="config",
        ProductionVariants=[variant("P")],
        ShadowProductionVariants=[variant("S", weight=0.5)],
    )
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="config")
    await control.until_endpoint("ep", "InService")
    with pytest.raises(CallRefused, match="greater than 0 beside a shadow"):
        await change(control, {"VariantName": "P", "DesiredWeight": 0.0})
    await change(control, {"VariantName": "S", "DesiredWeight": 0.25})
    found = await control.until_endpoint("ep", "InService")
    assert found["ShadowProductionVariants"][0]["CurrentWeight"] == 0.25


async def test_an_endpoint_under_test_keeps_its_weights(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    await control.until_experiment("exp", "Running")
    with pytest.raises(CallRefused, match="inference experiment exp runs on it"):
        await change(control, {"VariantName": "AllTraffic", "DesiredWeight": 2.0})


CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 30,
    "DestinationS3Uri": "s3://bucket/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ((1.0, 1), False)),
        ({"RetainAllVariantProperties": True}, ((5.0, 2), True)),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [
                    {"VariantPropertyType": "DesiredWeight"},
                    {"VariantPropertyType": "DataCaptureConfig"},
                ],
            },
            ((1.0, 2), False),
        ),
    ],
)
async def test_an_update_retains_what_it_is_told_to(control, members, expected):
    await two_variants(control, DataCaptureConfig=CAPTURE)
    await change(control, {"VariantName": "A", "DesiredWeight": 5.0, "DesiredInstanceCount": 2})
    await control.until_endpoint("ep", "InService")
    await control.call(
        "CreateEndpointConfig",
        EndpointConfigName="next",
        ProductionVariants=[variant("A"), variant("B")],
    )
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="next", **members)
    found = await control.until_endpoint("ep", "InService")
    assert found["EndpointConfigName"] == "next"
    _, weight, _, count = figures(found)["A"]
    assert ((weight, count), "DataCaptureConfig" in found) == expected


async def test_a_deployment_configuration_comes_back_and_may_be_kept(control):
    policy = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 0,
        }
    }
    await two_variants(control)
    for members, expected in (
        ({"DeploymentConfig": policy}, policy),
        ({"RetainDeploymentConfig": True}, policy),
        ({}, None),
    ):
        await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="two", **members)
        found = await control.until_endpoint("ep", "InService")
        assert found.get("LastDeploymentConfig") == expected


async def test_a_capture_is_described_also_when_its_configuration_is_gone(control):
    await two_variants(control, DataCaptureConfig=CAPTURE)
    await control.call("DeleteEndpointConfig", EndpointConfigName="two")
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    assert found["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 30,
        "DestinationS3Uri": "s3://bucket/captured",
        "KmsKeyId": "",
    }


OLD = a_spec(a_variant("A"), a_variant("B"), config_name="old")
NEW = a_spec(a_variant("A", weight=2.0), a_variant("C"), config_name="new")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"status": "InService"}, {"A": None, "B": None}),
        ({"status": "Creating", "serving": None}, {"A": "Creating", "B": "Creating"}),
        (
            {"status": "Updating", "desired": NEW},
            {"A": "Updating", "B": "Deleting", "C": "Creating"},
        ),
        ({"status": "Updating"}, {"A": "ActivatingTraffic", "B": "ActivatingTraffic"}),
        ({"status": "Deleting"}, {"A": "Deleting", "B": "Deleting"}),
    ],
)
def test_a_variant_has_a_status_while_it_changes(members, expected):
    record = an_endpoint(**({"desired": OLD, "serving": OLD} | members))
    assert {name: variant_status(record, name) for name in expected} == expected


def test_an_update_shows_what_serves_and_what_is_pending():
    record = an_endpoint(desired=NEW, serving=OLD, status="Updating")
    instances = [an_instance(OLD.production[0]), an_instance(OLD.production[1])]
    shown = endpoint_view(record, instances)
    assert shown["EndpointConfigName"] == "old"
    assert figures(shown) == {"A": (1.0, 2.0, 1, 1), "B": (1.0, 0.0, 1, 0)}
    pending = shown["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "new"
    assert [
        (v["VariantName"], v["CurrentInstanceCount"]) for v in pending["ProductionVariants"]
    ] == [
        ("A", 1),
        ("C", 0),
    ]
