import pytest

from gnomon.testing.control import CallRefused, FakeClock, running_control
from gnomon.testing.requests import ROLE, make_config, make_endpoint, make_model


async def test_an_endpoint_goes_from_creating_to_in_service(control):
    found = await make_endpoint(control, count=2)
    (variant,) = found["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    assert len(control.machine.running()) == 2
    assert "ShadowProductionVariants" not in found


async def test_a_model_whose_archive_is_nowhere_is_not_made(control):
    url = "s3://bucket/missing.tar.gz"
    with pytest.raises(CallRefused) as refused:
        await make_model(control, "bad", url)
    assert refused.value.code == "ValidationException"
    assert refused.value.message == f"Could not find model data at {url}."
    source = {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    with pytest.raises(CallRefused, match="Could not find model data"):
        await control.call(
            "CreateModel",
            ModelName="bad",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "x", "ModelDataSource": {"S3DataSource": source}},
        )
    assert (await control.call("ListModels"))["Models"] == []


async def test_an_endpoint_whose_archive_is_gone_fails_with_sagemakers_reason(control):
    await make_model(control, "bad", "s3://bucket/gone.tar.gz")
    await make_config(control, "bad-config", "bad")
    await control.call("CreateEndpoint", EndpointName="bad", EndpointConfigName="bad-config")
    found = await control.until_endpoint("bad", "Failed")
    assert found["FailureReason"].startswith(
        'Failed to download model data for container "container_1" from URL: '
        '"s3://bucket/gone.tar.gz".'
    )


async def test_a_failed_update_leaves_the_old_one_serving_and_says_why(control):
    await make_endpoint(control)
    before = control.machine.running()
    await make_model(control, "bad", "s3://bucket/gone.tar.gz")
    await make_config(control, "bad-config", "bad")
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="bad-config")
    found = await control.until_endpoint("ep", "InService")
    assert "gone.tar.gz" in found["FailureReason"]
    assert found["EndpointConfigName"] == "ep-config"
    assert control.machine.running() == before


async def test_an_update_to_another_model_replaces_every_instance(control):
    await make_endpoint(control, count=2)
    before = control.machine.running()
    await make_model(control, "other")
    await make_config(control, "other-config", "other")
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="other-config")
    await control.until_endpoint("ep", "InService")

    async def replaced():
        return len(control.machine.running()) == 1 and not control.machine.running() & before

    await control.until(replaced, "the old instances stopped")


async def test_a_deleted_endpoint_is_gone_and_so_are_its_instances(control):
    await make_endpoint(control)
    await control.call("DeleteEndpoint", EndpointName="ep")

    async def gone():
        try:
            await control.call("DescribeEndpoint", EndpointName="ep")
        except CallRefused as refused:
            return refused

    refused = await control.until(gone, "the endpoint gone")
    # botocore's waiter endpoint_deleted depends on this code.
    assert refused.code == "ValidationException"
    assert refused.message == (
        'Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/ep".'
    )
    assert control.machine.running() == set()


async def test_names_are_unique_without_regard_to_case(control):
    await make_endpoint(control)
    with pytest.raises(CallRefused, match="Cannot create already existing endpoint "):
        await control.call("CreateEndpoint", EndpointName="EP", EndpointConfigName="ep-config")


async def test_an_endpoint_that_changes_takes_no_second_change(control):
    await make_endpoint(control)
    await make_model(control, "other", "s3://bucket/endless.tar.gz")
    await make_config(control, "other-config", "other")
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="other-config")
    for operation in ("UpdateEndpoint", "DeleteEndpoint"):
        extra = {"EndpointConfigName": "ep-config"} if operation == "UpdateEndpoint" else {}
        with pytest.raises(CallRefused, match="Cannot update in-progress endpoint "):
            await control.call(operation, EndpointName="ep", **extra)


async def test_a_new_control_adopts_what_runs(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await make_endpoint(control, count=2)
    before = machine.running()
    async with running_control(tmp_path, machine, clock) as control:
        await control.until_endpoint("ep", "InService")
        assert machine.running() == before
        assert len(machine.starts) == 2


@pytest.mark.slow
async def test_an_instance_that_exits_is_replaced(control):
    await make_endpoint(control)
    (instance_id,) = control.machine.running()
    control.machine.instances[instance_id].status = 1

    async def replaced():
        return control.machine.running() - {instance_id}

    await control.until(replaced, "another instance")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"AsyncInferenceConfig": {"OutputConfig": {}}}, "One or more endpoint features"),
    ],
)
async def test_what_would_mislead_is_refused_by_name(control, change, sentence):
    await make_model(control, "m")
    with pytest.raises(CallRefused, match=sentence) as refused:
        await make_config(control, "c", "m", **change)
    assert refused.value.code == "ValidationException"


async def test_a_creation_that_a_restart_interrupted_is_carried_on(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await make_model(control, "prod")
        await make_config(control, "ep-config", "prod", count=2)
        await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="ep-config")
        await control.until(started(control), "an instance that starts")
    for instance in machine.instances.values():
        instance.status = -9
    async with running_control(tmp_path, machine, clock) as control:
        await control.until(started(control, 2), "new instances")
        await control.until_endpoint("ep", "InService")


def started(control, count=1):
    async def holds():
        return len(control.machine.running()) >= count

    return holds
