"""The whole data directory is searched for what a customer sent and for what is in a model."""

import contextlib
import subprocess
import sys

import pytest

from gnomon.testing.processes import ECHO_HANDLER, IMAGE, ROLE, EchoModels, archive, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Too long for a label of the comparison, which keeps those without a key (docs/guide.md, Keys).
SENT = "customer marker 7f3a " * 8
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


@pytest.mark.parametrize("key", [None, "alias/volumes"])
def test_what_must_not_lie_in_clear_is_found_only_without_a_key(tmp_path, key):
    data_dir = tmp_path / "g"
    # Segments stay in the spool until the search is over.
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2", "GNOMON_SPOOL_SEGMENT_AGE_S": "600"}
    with running_gnomon(data_dir, **settings) as gnomon:
        subprocess.run(
            [sys.executable, "-m", "gnomon.app.main", "keys", "create", "--alias", "volumes",
             "--data-dir", str(data_dir)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        echo = EchoModels(gnomon, tmp_path, "sealed")
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
        storage = {
            "Destination": "s3://captures/x",
            "ContentType": {"CsvContentTypes": ["text/csv"]},
            **({"KmsKey": key} if key else {}),
        }
        keyed = {"KmsKey": key} if key else {}
        echo.experiment(100, DataStorageConfig=storage, **keyed)
        for _ in range(20):
            echo.invoke(SENT)
        gnomon.wait(lambda: echo.report()["pairs"]["pairs"] == 20, "twenty pairs in the report")
        beside_traffic = (holding(data_dir, SENT), holding(data_dir, WEIGHTS))
        echo.stop()
        with_objects = holding(data_dir, SENT)
        report = echo.report()
    assert report["lost"] == {"captures": 0, "pairs": 0}
    if key is None:
        assert "spool" in beside_traffic[0]
        assert beside_traffic[1] == {"models"}
        assert "objects" in with_objects
    else:
        assert beside_traffic == (set(), set())
        assert with_objects == set()
