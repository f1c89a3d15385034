"""With `roles.strict`, who is named in a request is looked at, and used, where it is named for.

Each role has a directory and keys of its own here, so that what is there shows who was there.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles, RoleUnusable
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.stores import DirectoryObjects
from gnomon.store.state.instances import get_capture
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS
from gnomon.testing.control import ACCOUNT, CallRefused, FakeClock, running_control
from gnomon.testing.requests import experiment_request, make_config, make_model

BEGINNING = "arn:aws:iam::111122223333:role/"
OF_MODELS, OF_TESTS, OF_CONFIGS, GONE, OTHER = (
    f"{BEGINNING}{name}" for name in ("Models", "Tests", "Configs", "Gone", "Other")
)
WORDS = (
    "Could not assume role {}. Please ensure that the role exists and allows principal "
    r"'sagemaker.amazonaws.com' to assume the role. \({}\)"
)


def access(directory, role_arn):
    keys = LocalKeys(directory / "keys.json", ACCOUNT)
    return Access(SealedObjects(DirectoryObjects(directory / "objects"), keys), keys, role_arn)


def refuse():
    raise RoleUnusable(GONE, "AccessDenied: not you")


@pytest.fixture
async def control(tmp_path, machine):
    known = {}
    for role_arn in (OF_MODELS, OF_TESTS, OF_CONFIGS):
        directory = tmp_path / role_arn.rpartition("/")[2]
        directory.mkdir()
        known[role_arn] = access(directory, role_arn)
    known[GONE] = Access(known[OF_TESTS].objects, known[OF_TESTS].keys, GONE, refuse)
    (tmp_path / "control").mkdir()
    roles = Roles(None, known)
    async with running_control(tmp_path / "control", machine, FakeClock(), roles=roles) as running:
        yield running


def capture(**members):
    return {
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://bucket/taken",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
        **members,
    }


def storage(destination="s3://bucket/taken", **members):
    return {"DataStorageConfig": {"Destination": destination, **members}}


def take(tmp_path, role_arn):
    """From now on s3://bucket/taken is nothing that can be written below, for this role."""
    bucket = tmp_path / role_arn.rpartition("/")[2] / "objects" / "bucket"
    bucket.mkdir(parents=True)
    (bucket / "taken").write_bytes(b"an object")


async def prepared(control):
    await make_model(control, "shad", role=OF_CONFIGS)
    await make_model(control, "prod", role=OF_MODELS)
    await make_config(control, "ep-config", "prod")
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="ep-config")
    await control.until_endpoint("ep", "InService")


async def create(control, **members):
    request = experiment_request(RoleArn=OF_TESTS) | members
    await control.call("CreateInferenceExperiment", **request)
    return await control.until_experiment("exp", "Running")


@pytest.mark.parametrize(
    ("role_arn", "reason"),
    [
        (OTHER, "roles.credentials in Gnomon's settings does not name it"),
        (GONE, "AccessDenied: not you"),
    ],
)
async def test_a_role_that_cannot_be_assumed_is_refused_at_create_in_sagemakers_words(
    control, role_arn, reason
):
    await prepared(control)
    said = WORDS.format(role_arn, reason)
    with pytest.raises(CallRefused, match=said) as refused:
        await create(control, RoleArn=role_arn)
    assert refused.value.code == "ValidationException"
    with pytest.raises(CallRefused, match=said) as refused:
        await make_config(control, "c", "prod", ExecutionRoleArn=role_arn)
    assert refused.value.code == "ValidationException"
    # A model's own check is `gnomon.app.archives`'; here it writes captures.
    await make_model(control, "other", role=role_arn)
    with pytest.raises(CallRefused, match=said):
        await make_config(control, "c", "other", **capture())
    assert (await control.call("ListInferenceExperiments"))["InferenceExperiments"] == []


async def test_a_test_writes_by_its_own_role(control, tmp_path):
    await prepared(control)
    take(tmp_path, OF_MODELS)
    await create(control, **storage())
    async with control.transactions.looking() as call:
        record = await EXPERIMENTS.find(call.connection, "exp")
        definition = await get_capture(call.connection, record.plan.capture_id)
    assert definition.role_arn == OF_TESTS


async def test_what_its_role_cannot_write_to_is_refused(control, tmp_path):
    await prepared(control)
    take(tmp_path, OF_TESTS)
    said = f"destination s3://bucket/taken cannot be written by the role {OF_TESTS}: "
    with pytest.raises(CallRefused, match=said) as refused:
        await create(control, **storage())
    assert refused.value.code == "ValidationException"
    await create(control, **storage("s3://bucket/free"))
    with pytest.raises(CallRefused, match=said):
        await control.call("UpdateInferenceExperiment", Name="exp", **storage())


async def test_a_captures_key_is_the_roles_and_a_storage_volumes_is_gnomons(control, tmp_path):
    await prepared(control)
    LocalKeys(tmp_path / "Tests" / "keys.json", ACCOUNT).create(1.0, "", "of-tests")
    LocalKeys(tmp_path / "control" / "keys.json", ACCOUNT).create(1.0, "", "own")
    with pytest.raises(CallRefused, match=r"KmsKey: .* alias/of-tests cannot be used"):
        await create(control, KmsKey="alias/of-tests")
    with pytest.raises(CallRefused, match=r"DataStorageConfig.KmsKey: .* alias/own cannot be used"):
        await create(control, **storage(KmsKey="alias/own"))
    await create(control, KmsKey="alias/own", **storage(KmsKey="alias/of-tests"))


@pytest.mark.parametrize(
    ("members", "writes", "is_kept"),
    [({"ExecutionRoleArn": OF_CONFIGS}, OF_CONFIGS, True), ({}, OF_MODELS, False)],
)
async def test_an_endpoint_writes_by_its_configurations_role_else_by_its_models(
    control, tmp_path, members, writes, is_kept
):
    await make_model(control, "shad", role=OF_TESTS)
    await make_model(control, "prod", role=OF_MODELS)
    other = OF_MODELS if is_kept else OF_CONFIGS
    take(tmp_path, other)
    await make_config(control, "c", "prod", **capture(**members))
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await control.until_endpoint("ep", "InService")
    await create(control)
    async with control.transactions.looking() as call:
        endpoint = await ENDPOINTS.find(call.connection, "ep")
        (taken,) = endpoint.desired.captures
        definition = await get_capture(call.connection, taken.id)
    assert definition.role_arn == writes
    # A configuration that the test made says the same of it.
    made = await control.call(
        "DescribeEndpointConfig", EndpointConfigName=endpoint.desired.config_name
    )
    assert made.get("ExecutionRoleArn") == (OF_CONFIGS if is_kept else None)


async def test_each_variants_archive_is_read_by_its_own_models_role(control):
    await prepared(control)
    await create(control)
    async with control.transactions.looking() as call:
        endpoint = await ENDPOINTS.find(call.connection, "ep")
    desired = endpoint.desired
    assert (desired.production[0].role_arn, desired.shadow.role_arn) == (OF_MODELS, OF_CONFIGS)


async def test_an_endpoint_that_a_test_made_reads_by_its_models_role(control):
    await make_model(control, "shad", role=OF_CONFIGS)
    await make_model(control, "prod", role=OF_MODELS)
    await create(control)
    async with control.transactions.looking() as call:
        endpoint = await ENDPOINTS.find(call.connection, "ep")
    assert endpoint.desired.production[0].role_arn == OF_MODELS


async def test_a_configurations_role_outlives_a_promotion(control):
    await make_model(control, "shad", role=OF_CONFIGS)
    await make_model(control, "prod", role=OF_MODELS)
    await make_config(control, "c", "prod", ExecutionRoleArn=OF_TESTS)
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await control.until_endpoint("ep", "InService")
    await create(control)
    actions = {"AllTraffic": "Remove", "Shadow-01": "Promote"}
    await control.call("StopInferenceExperiment", Name="exp", ModelVariantActions=actions)
    await control.until_experiment("exp", "Cancelled")
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    made = await control.call(
        "DescribeEndpointConfig", EndpointConfigName=found["EndpointConfigName"]
    )
    assert made["ExecutionRoleArn"] == OF_TESTS


async def test_a_destination_that_is_changed_is_written_by_the_tests_role(control):
    await prepared(control)
    schedule = {"StartTime": datetime.now(UTC) + timedelta(hours=1)}
    request = experiment_request(RoleArn=OF_TESTS, Schedule=schedule)
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    await control.call("UpdateInferenceExperiment", Name="exp", **storage("s3://bucket/new"))
    async with control.transactions.looking() as call:
        record = await EXPERIMENTS.find(call.connection, "exp")
        definition = await get_capture(call.connection, record.plan.capture_id)
    assert (definition.destination, definition.role_arn) == ("s3://bucket/new", OF_TESTS)


async def test_a_scheduled_tests_archive_is_looked_for_with_its_models_role(tmp_path, machine):
    asked = []

    async def check(url, role_arn):
        asked.append((url, role_arn))

    async with running_control(tmp_path, machine, FakeClock(), check=check) as control:
        await make_model(control, "shad", "s3://bucket/shad.tar.gz", OF_CONFIGS)
        await make_model(control, "prod", role=OF_MODELS)
        await make_config(control, "ep-config", "prod")
        await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="ep-config")
        await control.until_endpoint("ep", "InService")
        schedule = {"StartTime": datetime.now(UTC) + timedelta(hours=1)}
        await control.call("CreateInferenceExperiment", **experiment_request(Schedule=schedule))
        await control.until_experiment("exp", "Created")
    assert asked == [("s3://bucket/shad.tar.gz", OF_CONFIGS)]


async def test_a_role_is_no_part_of_what_an_instance_is(control):
    await prepared(control)
    async with control.transactions.looking() as call:
        endpoint = await ENDPOINTS.find(call.connection, "ep")
    (variant,) = endpoint.desired.production
    without = msgspec.structs.replace(variant, role_arn="")
    assert without.fingerprint == variant.fingerprint


async def test_a_configuration_without_any_role_cannot_capture(control):
    await control.call(
        "CreateModel", ModelName="prod", PrimaryContainer={"Image": "scikit-learn:1"}
    )
    with pytest.raises(CallRefused, match=r"No role is named: with roles\.strict"):
        await make_config(control, "c", "prod", **capture())
    await make_config(control, "c", "prod")
