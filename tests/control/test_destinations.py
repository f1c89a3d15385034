"""Where captures go, and under which keys, is looked at before anything begins."""

import pytest

from gnomon.objects.local_keys import LocalKeys
from gnomon.testing.control import ACCOUNT, CallRefused
from gnomon.testing.requests import experiment_request, make_config, make_endpoint, make_model


@pytest.fixture
def keys(tmp_path):
    keys = LocalKeys(tmp_path / "keys.json", ACCOUNT)
    keys.create(1.0, "", "captures")
    return keys


async def prepared(control):
    await make_endpoint(control)
    await make_model(control, "shad")


async def create(control, **members):
    await control.call("CreateInferenceExperiment", **experiment_request(**members))
    return await control.until_experiment("exp", "Running")


def storage(destination="s3://bucket/x", **members):
    return {"DataStorageConfig": {"Destination": destination, **members}}


async def test_both_keys_come_back_as_they_were_given_in_all_four_spellings(control, keys):
    await prepared(control)
    ((key, _),) = keys.all()
    beginning = "arn:aws:kms:us-east-1:000000000000:"
    for spelling in (key.id, f"{beginning}key/{key.id}", "alias/captures"):
        await make_config(control, f"c-{len(spelling)}", "prod", KmsKeyId=spelling)
    arn = f"{beginning}alias/captures"
    found = await create(control, KmsKey=arn, **storage(KmsKey="alias/captures"))
    assert found["KmsKey"] == arn
    assert found["DataStorageConfig"]["KmsKey"] == "alias/captures"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"KmsKey": "alias/none"}, "KmsKey: The KMS key alias/none cannot be used: it does not"),
        (storage(KmsKey="alias/none"), "DataStorageConfig.KmsKey: .*it does not exist"),
        ({"KmsKey": "alias/captures"}, "KmsKey: .*it is disabled"),
        (storage(KmsKey="alias/captures"), "DataStorageConfig.KmsKey: .*it is disabled"),
    ],
)
async def test_a_key_that_cannot_be_used_is_refused_by_a_sentence(control, keys, members, said):
    await prepared(control)
    keys.enable("alias/captures", enabled=False)
    with pytest.raises(CallRefused, match=said) as refused:
        await create(control, **members)
    assert refused.value.code == "ValidationException"
    assert (await control.call("ListInferenceExperiments"))["InferenceExperiments"] == []


@pytest.mark.parametrize("member", ["KmsKeyId", "DataCaptureConfig"])
async def test_a_configurations_keys_are_looked_at_too(control, keys, member):
    await make_model(control, "prod")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/x",
        "KmsKeyId": "alias/none",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    given = {member: capture if member == "DataCaptureConfig" else "alias/none"}
    with pytest.raises(CallRefused, match="alias/none cannot be used: it does not exist"):
        await make_config(control, "c", "prod", **given)


async def test_a_destination_that_cannot_be_written_is_refused_and_leaves_nothing(
    control, tmp_path
):
    await prepared(control)
    (tmp_path / "objects" / "bucket").mkdir(parents=True)
    (tmp_path / "objects" / "bucket" / "taken").write_bytes(b"an object")
    with pytest.raises(CallRefused, match="destination s3://bucket/taken cannot be written") as no:
        await create(control, **storage("s3://bucket/taken"))
    assert no.value.code == "ValidationException"
    await create(control, **storage("s3://bucket/free"))
    files = [path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert files == ["taken"]


@pytest.mark.parametrize("capture", [{"EnableCapture": True}, {"KmsKeyId": "alias/captures"}])
@pytest.mark.parametrize("of_volume", [{}, {"KmsKeyId": "alias/captures"}])
async def test_a_configuration_without_a_model_has_its_own_refusal(
    control, keys, capture, of_volume
):
    config = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/x",
        "CaptureOptions": [{"CaptureMode": "Input"}],
        **capture,
    }
    with pytest.raises(CallRefused, match="Variant AllTraffic needs ModelName") as refused:
        await control.call(
            "CreateEndpointConfig",
            EndpointConfigName="c",
            ProductionVariants=[{"VariantName": "AllTraffic"}],
            DataCaptureConfig=config,
            **of_volume,
        )
    assert refused.value.code == "ValidationException"


async def test_an_update_that_keeps_the_destination_does_not_ask_for_it(control, keys):
    await prepared(control)
    await create(control, **storage(KmsKey="alias/captures"))
    keys.enable("alias/captures", enabled=False)
    await control.call("UpdateInferenceExperiment", Name="exp", **storage(KmsKey="alias/captures"))
    with pytest.raises(CallRefused, match="it is disabled"):
        await control.call(
            "UpdateInferenceExperiment",
            Name="exp",
            **storage("s3://bucket/other", KmsKey="alias/captures"),
        )
