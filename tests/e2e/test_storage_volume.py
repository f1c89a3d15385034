"""The whole data directory is searched for what a customer sent and for what is in a model."""

import contextlib
import os
import subprocess
import sys
from secrets import token_hex

import pytest

from gnomon.testing.processes import ECHO_HANDLER, IMAGE, ROLE, EchoModels, archive, running_gnomon
from gnomon.testing.small_disk import CannotMount, fill, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIB = 1024**2

# Short enough for a label of the comparison, which the telemetry database keeps.
SENT = "customer marker 7f3a"
WEIGHTS = "weights marker 9c41"


def model(echo, name):
    counts = echo.directory / f"counts-{name}"
    counts.mkdir()
    files = {"code/inference.py": ECHO_HANDLER, "weights.txt": WEIGHTS}
    packed = archive(echo.directory / f"{name}.tar.gz", files)
    echo.sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={
            "Image": IMAGE,
            "ModelDataUrl": f"file://{packed}",
            "Environment": {"COUNT_DIR": str(counts)},
        },
        ExecutionRoleArn=ROLE,
    )


def holding(directory, marker):
    """The files that hold the marker, as paths within the directory."""
    found = set()
    for path in directory.rglob("*"):
        # Some go meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and marker.encode() in path.read_bytes():
                found.add(path.relative_to(directory).parts[0])
    return found


def run(gnomon, *arguments):
    subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", *arguments, "--data-dir", str(gnomon.data_dir)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def running_test(gnomon, directory, key):
    """A test on an endpoint whose storage volumes and captures have the key, if there is one.

    Production answers each request twice.
    """
    run(gnomon, "keys", "create", "--alias", "volumes")
    echo = EchoModels(gnomon, directory, "sealed")
    for name in ("sealed-prod", "sealed-shad"):
        model(echo, name)
    echo.sagemaker.create_endpoint_config(
        EndpointConfigName="sealed-config",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "sealed-prod",
                "InstanceType": "ml.m5.xlarge",
                "InitialInstanceCount": 1,
            }
        ],
        **({"KmsKeyId": key} if key else {}),
    )
    echo.sagemaker.create_endpoint(EndpointName="sealed", EndpointConfigName="sealed-config")
    echo.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="sealed", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    keyed = {"KmsKey": key} if key else {}
    storage = {
        "Destination": "s3://captures/x",
        "ContentType": {"CsvContentTypes": ["text/csv"]},
        **keyed,
    }
    echo.experiment(100, DataStorageConfig=storage, **keyed)
    run(gnomon, "analysis", "set", echo.name, "--noise-share", "1")
    return echo


@pytest.mark.parametrize("key", [None, "alias/volumes"])
def test_what_must_not_lie_in_clear_is_found_only_without_a_key(tmp_path, key):
    data_dir = tmp_path / "g"
    # Segments stay in the spool until the search is over.
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2", "GNOMON_SPOOL_SEGMENT_AGE_S": "600"}
    with running_gnomon(data_dir, **settings) as gnomon:
        echo = running_test(gnomon, tmp_path, key)
        for _ in range(20):
            echo.invoke(SENT)
        gnomon.wait(lambda: echo.report()["pairs"]["pairs"] == 20, "twenty pairs in the report")
        gnomon.wait(lambda: echo.report()["noise"]["repeated"] > 0, "an answer given twice")
        beside_traffic = (holding(data_dir, SENT), holding(data_dir, WEIGHTS))
        echo.stop()
        with_objects = holding(data_dir, SENT)
        report = echo.report()
    assert report["lost"] == {"captures": 0, "pairs": 0}
    if key is None:
        assert "spool" in beside_traffic[0]
        assert any(name.startswith("telemetry.db") for name in beside_traffic[0])
        assert beside_traffic[1] == {"models"}
        assert "objects" in with_objects
    else:
        assert beside_traffic == (set(), set())
        assert with_objects == set()


def test_a_router_that_starts_while_the_key_is_away_gets_it_when_it_is_back(tmp_path):
    data_dir, keys = tmp_path / "g", tmp_path / "g" / "keys.json"
    with running_gnomon(data_dir) as gnomon:
        echo = running_test(gnomon, tmp_path, "alias/volumes")
        echo.invoke(SENT)
        gnomon.wait(lambda: echo.report()["pairs"]["pairs"] == 1, "a pair in the report")
    keys.rename(tmp_path / "away.json")
    with running_gnomon(data_dir) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "sealed")
        echo.sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName="sealed", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

        def invoked():
            echo.invoke(SENT)
            return echo.report()

        gnomon.wait(lambda: invoked()["lost"]["pairs"], "a pair that was lost for want of the key")
        assert echo.report()["pairs"]["pairs"] == 1
        (tmp_path / "away.json").rename(keys)
        gnomon.wait(lambda: invoked()["pairs"]["pairs"] > 1, "a pair under the key")
    assert holding(data_dir, SENT) == set()


@pytest.fixture
def memory(tmp_path):
    path = tmp_path / "memory"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(small_disk(path, 2 * MIB))
        except CannotMount as error:
            pytest.skip(f"no file system can be mounted: {error}")
        yield path


def test_an_instance_for_which_there_is_no_room_in_memory_fails_with_a_sentence(memory, tmp_path):
    with running_gnomon(
        tmp_path / "g",
        GNOMON_HOSTING_MEMORY_DIRECTORY=str(memory),
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as gnomon:
        run(gnomon, "keys", "create", "--alias", "volumes")
        echo = EchoModels(gnomon, tmp_path, "room")

        def failure(name):
            echo.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

            def failed():
                found = echo.sagemaker.describe_endpoint(EndpointName=name)
                return found if found["EndpointStatus"] == "Failed" else None

            return gnomon.wait(failed, f"{name} failed")["FailureReason"]

        # What can hardly be compressed, and what is small until it is unpacked.
        for name, text in (("large", token_hex(MIB // 2)), ("swelling", "x" * 4 * MIB)):
            packed = archive(tmp_path / f"{name}.tar.gz", {"weights": text})
            echo.sagemaker.create_model(
                ModelName=name,
                PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
                ExecutionRoleArn=ROLE,
            )
            echo.sagemaker.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[
                    {
                        "VariantName": "AllTraffic",
                        "ModelName": name,
                        "InstanceType": "ml.m5.xlarge",
                        "InitialInstanceCount": 1,
                    }
                ],
                KmsKeyId="alias/volumes",
            )
        said = failure("swelling")
        assert f"does not fit into {memory}, which is in memory: free some" in said
        gnomon.wait(lambda: os.listdir(memory) == [], "nothing left in memory")
        # There was room when the configuration was made.
        fill(memory / "of somebody else", MIB // 4)
        said = failure("large")
        assert "The models need more than 0." in said
        assert f"MiB are free in {memory}: free some" in said
        assert os.listdir(memory) == ["of somebody else"]
