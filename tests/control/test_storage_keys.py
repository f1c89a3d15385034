"""What KmsKey and KmsKeyId do: where models unpack, and which records are sealed."""

from pathlib import Path

import pytest

from gnomon.hosting import volumes as volumes_module
from gnomon.hosting.volumes import Volumes, owner_of
from gnomon.objects.local_keys import LocalKeys
from gnomon.settings import HostingSettings
from gnomon.store.state import routing
from gnomon.testing.control import ACCOUNT, CallRefused
from gnomon.testing.requests import (
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
)


@pytest.fixture(autouse=True)
def keys(tmp_path):
    keys = LocalKeys(tmp_path / "keys.json", ACCOUNT)
    for name in ("endpoint", "test"):
        keys.create(1.0, "", name)
    return keys


@pytest.fixture
def volumes(tmp_path):
    made = Volumes(Path(HostingSettings.memory_directory), owner_of(tmp_path))
    yield made
    made.keep_only(())


def in_memory(volumes):
    return {path.name for path in volumes._root.iterdir()} if volumes._root.exists() else set()


async def route_key(control):
    async with control.transactions.database.reading() as connection:
        (endpoint,) = (await routing.changes_since(connection, 0)).endpoints
    return endpoint.kms_key


async def stop(control, shadow="Remove", production="Retain"):
    await control.call(
        "StopInferenceExperiment",
        Name="exp",
        ModelVariantActions={"AllTraffic": production, "Shadow-01": shadow},
        DesiredState="Completed",
    )
    await control.until_experiment("exp", "Completed")


async def until_in_memory(control, volumes, count):
    async def reached():
        return len(in_memory(volumes)) == count

    await control.until(reached, f"{count} models in memory")


async def test_a_configurations_key_holds_for_its_models_and_records(control, volumes):
    await make_model(control, "prod")
    await make_config(control, "c", "prod", count=2, KmsKeyId="alias/endpoint")
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await control.until_endpoint("ep", "InService")
    assert await route_key(control) == "alias/endpoint"
    assert len(in_memory(volumes)) == 2
    await control.call("DeleteEndpoint", EndpointName="ep")
    await until_in_memory(control, volumes, 0)


async def test_a_tests_key_holds_for_the_shadow_and_for_records_while_it_runs(control, volumes):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request(KmsKey="alias/test"))
    await control.until_experiment("exp", "Running")
    assert await route_key(control) == "alias/test"
    assert len(in_memory(volumes)) == 1
    await stop(control)
    assert await route_key(control) == ""
    await until_in_memory(control, volumes, 0)


async def test_a_promoted_shadow_keeps_its_key(control, volumes):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request(KmsKey="alias/test"))
    await control.until_experiment("exp", "Running")
    await stop(control, shadow="Promote", production="Remove")
    endpoint = await control.until_endpoint("ep", "InService")
    assert await route_key(control) == "alias/test"
    config = await control.call(
        "DescribeEndpointConfig", EndpointConfigName=endpoint["EndpointConfigName"]
    )
    assert config["KmsKeyId"] == "alias/test"
    # One of normal weight takes the light one's place.
    await until_in_memory(control, volumes, 1)


async def test_without_a_key_nothing_is_in_memory(control, volumes):
    await make_endpoint(control)
    assert await route_key(control) == ""
    assert in_memory(volumes) == set()


async def test_an_instance_that_cannot_start_leaves_nothing_in_memory(control, volumes, machine):
    machine.refusals.extend(["it does not want to"] * 20)
    await make_model(control, "prod")
    await make_config(control, "c", "prod", KmsKeyId="alias/endpoint")
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="c")
    await control.until_endpoint("ep", "Failed")
    await until_in_memory(control, volumes, 0)


@pytest.mark.parametrize("count", [1, 3])
async def test_models_that_do_not_fit_into_memory_are_refused_by_their_size(
    control, tmp_path, monkeypatch, count
):
    monkeypatch.setattr(volumes_module, "free_bytes", lambda _: 2 * 1024 * 1024)
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(bytes(1024 * 1024))
    await make_model(control, "prod", f"file://{archive}")
    if count == 1:
        await make_config(control, "c", "prod", KmsKeyId="alias/endpoint")
        return
    with pytest.raises(CallRefused, match=r"KmsKeyId: The models need more than 3\.0 MiB") as no:
        await make_config(control, "c", "prod", count=count, KmsKeyId="alias/endpoint")
    assert no.value.code == "ValidationException"


@pytest.mark.parametrize("url", ["s3://b/m.tar.gz", "s3://bucket/none", "file:///none"])
async def test_an_archive_whose_size_cannot_be_told_keeps_nothing_from_being_created(control, url):
    await make_model(control, "prod", url)
    await make_config(control, "c", "prod", KmsKeyId="alias/endpoint")
