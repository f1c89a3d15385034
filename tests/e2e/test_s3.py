"""`gnomon up` with an S3 server beside: a script for SageMaker runs unchanged, with boto3 alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from gnomon.cli.environment import CONTRADICTING
from gnomon.testing.processes import ECHO_HANDLER, IMAGE, EchoModels, archive, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

BUCKET = "sagemaker-us-east-1-000000000000"
EXAMPLE = Path(__file__).parents[2] / "examples" / "read_capture.py"


@pytest.fixture
def environ():
    return {name: value for name, value in os.environ.items() if name not in CONTRADICTING}


@pytest.fixture
def gnomon(tmp_path):
    settings = {
        "GNOMON_OBJECTS_STORE": "seaweedfs",
        "GNOMON_OBJECTS_PORT": "0",
        "GNOMON_ROUTER_DRAIN_IDLE_S": "0.2",
        "GNOMON_SPOOL_SEGMENT_AGE_S": "1",
    }
    with running_gnomon(tmp_path / "g", **settings) as running:
        yield running


def command(gnomon, *arguments):
    done = subprocess.run(
        command_line(gnomon, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_line(gnomon, *arguments):
    program = [sys.executable, "-m", "gnomon.app.main"]
    return [*program, *arguments, "--data-dir", str(gnomon.data_dir)]


def exported(gnomon, environ):
    """The environment of a shell that has said eval "$(gnomon env)"."""
    shell = subprocess.run(
        ["sh", "-c", f"{command(gnomon, 'env')}\nenv -0"],
        capture_output=True,
        text=True,
        env=environ,
        check=True,
    )
    return dict(line.partition("=")[::2] for line in shell.stdout.split("\0") if line)


def test_a_script_uploads_its_archive_and_reads_captures_from_s3(gnomon, tmp_path, environ):
    echo = EchoModels(gnomon, tmp_path, "shop")
    shell = exported(gnomon, environ)
    s3 = boto3.client(
        "s3",
        endpoint_url=shell["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=shell["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=shell["AWS_SECRET_ACCESS_KEY"],
        region_name=shell["AWS_REGION"],
    )
    packed = archive(tmp_path / "model.tar.gz", {"code/inference.py": ECHO_HANDLER})
    s3.upload_file(str(packed), BUCKET, "models/echo/model.tar.gz")
    for model, says in (("shop-prod", ""), ("shop-shad", "shadow")):
        counts = tmp_path / f"counts-{model}"
        counts.mkdir()
        echo.sagemaker.create_model(
            ModelName=model,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://{BUCKET}/models/echo/model.tar.gz",
                "Environment": {"COUNT_DIR": str(counts), "MODEL_SAYS": says},
            },
            ExecutionRoleArn="arn:aws:iam::000000000000:role/gnomon",
        )
    echo.experiment(
        100,
        DataStorageConfig={
            "Destination": f"s3://{BUCKET}/captured",
            "ContentType": {"CsvContentTypes": ["text/csv"]},
        },
    )
    for number in range(10):
        echo.invoke(f"{number}", InferenceId=f"id-{number}")
    # What is written while the store is away waits.
    store = next(
        process
        for process in json.loads((gnomon.data_dir / "gnomon.json").read_text())["processes"]
        if process["name"] == "seaweedfs"
    )
    os.kill(store["pid"], 9)
    for number in range(10, 20):
        echo.invoke(f"{number}")
    echo.stop()
    read = subprocess.run(
        [sys.executable, str(EXAMPLE), f"s3://{BUCKET}/captured/shop", "AllTraffic", "Shadow-01"],
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.splitlines()[:3] == [
        "20 records of production, 20 of the shadow",
        "by inferenceId: 10 requests, 10 answered differently",
        "by eventId: 20 requests, 20 answered differently",
    ]
    listed = command(gnomon, "capture", "ls", "shop").splitlines()
    assert listed
    assert all(f"s3://{BUCKET}/captured/shop/" in line for line in listed)
    cat = [json.loads(line) for line in command(gnomon, "capture", "cat", "shop").splitlines()]
    assert len(cat) == 40
    pairs = [json.loads(line) for line in command(gnomon, "capture", "pairs", "shop").splitlines()]
    assert sorted(int(pair["endpointInput"]["data"]) for pair in pairs) == [*range(20)]
    assert {pair["shadow"]["data"] for pair in pairs} == {"shadow"}
    remembered = [pair["event_id"] for pair in echo.report()["analysis"]["most_different"]]
    said = command(gnomon, "capture", "pairs", "shop", "--most-different").splitlines()
    worst = [json.loads(line) for line in said]
    assert [pair["eventId"] for pair in worst] == remembered
    whole = {pair["eventId"]: pair for pair in pairs}
    for pair in worst:
        assert pair.pop("score") > 0
        assert pair == whole[pair["eventId"]]
    with subprocess.Popen(
        command_line(gnomon, "capture", "cat", "shop"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as unread:
        unread.stdout.close()
        said = unread.stderr.read()
    assert (unread.returncode, said) == (0, b"")


def test_a_captured_record_lies_sealed_where_a_key_was_given(gnomon, tmp_path):
    echo = EchoModels(gnomon, tmp_path, "sealed")
    command(gnomon, "keys", "create", "--alias", "captures")
    echo.endpoint()
    echo.model("sealed-shad")
    echo.experiment(
        100,
        DataStorageConfig={"Destination": f"s3://{BUCKET}/captured", "KmsKey": "alias/captures"},
        KmsKey="alias/captures",
    )
    echo.invoke("MARKER")
    echo.stop()
    found = command(gnomon, "capture", "pairs", "sealed").splitlines()
    assert len(found) == 1
    (line, *_) = command(gnomon, "capture", "ls", "sealed").splitlines()
    command(gnomon, "cp", line.split()[-1], str(tmp_path / "in-clear"))
    assert b'"eventId"' in (tmp_path / "in-clear").read_bytes()
    s3 = boto3.client(
        "s3",
        endpoint_url=json.loads((gnomon.data_dir / "gnomon.json").read_text())["s3_url"],
        aws_access_key_id="gnomon",
        aws_secret_access_key="gnomon",
        region_name="us-east-1",
    )
    (_, _, key) = line.split()[-1].removeprefix("s3://").partition("/")
    stored = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert stored.startswith(b"GNOMON-SEALED-1\n")
    assert b"eventId" not in stored
    command(gnomon, "keys", "disable", "alias/captures")
    refused = subprocess.run(
        command_line(gnomon, "capture", "cat", "sealed"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "cannot be used: it is disabled." in refused.stderr
    assert refused.stderr.count("\n") == 1
