"""A Gnomon with `roles.strict` on an S3 server that knows who asks."""

import json

import pytest
from botocore.exceptions import ClientError

from gnomon.testing.processes import ECHO_HANDLER, IMAGE, EchoModels, archive, running_gnomon
from gnomon.testing.s3_server import S3Server, credentials_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

BEGINNING = "arn:aws:iam::111122223333:role/"
MODELS, TESTS, OTHER = (f"{BEGINNING}{name}" for name in ("Models", "Tests", "Other"))
URL = "s3://bucket/models/model.tar.gz"
STORAGE = {
    "Destination": "s3://bucket/captured",
    "ContentType": {"CsvContentTypes": ["text/csv"]},
}


@pytest.fixture
def server(tmp_path):
    (tmp_path / "s3").mkdir()
    server = S3Server(
        tmp_path / "s3",
        users={"reader": ["Read:bucket/models/*", "List:bucket"], "nobody": []},
        roles={
            TESTS: [
                {
                    "Effect": "Allow",
                    "Action": ["s3:PutObject", "s3:DeleteObject"],
                    "Resource": ["arn:aws:s3:::bucket/captured/*"],
                }
            ]
        },
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def gnomon(tmp_path, server):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "gnomon.toml").write_text(f"""
[objects]
store = "s3"
endpoint = "{server.endpoint}"

[roles]
strict = true

[roles.credentials."{MODELS}"]
access_key_id = "reader"
secret_access_key = "{credentials_of("reader").secret_access_key}"

[roles.credentials."{TESTS}"]
access_key_id = "nobody"
secret_access_key = "{credentials_of("nobody").secret_access_key}"
sts_endpoint = "{server.endpoint}"
""")
    environ = {
        "GNOMON_ROUTER_DRAIN_IDLE_S": "0.2",
        "GNOMON_SPOOL_SEGMENT_AGE_S": "1",
        # Whoever asks with what Gnomon itself has may do nothing.
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": credentials_of("nobody").secret_access_key,
    }
    with running_gnomon(tmp_path / "g", **environ) as running:
        yield running


def refusal(call):
    """What AWS would say, and as what."""
    with pytest.raises(ClientError) as refused:
        call()
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    return refused.value.response["Error"]["Message"]


def test_models_are_read_and_captures_written_by_the_roles_that_requests_name(
    gnomon, server, tmp_path
):
    echo = EchoModels(gnomon, tmp_path, "shop")
    s3 = server.client()
    packed = archive(tmp_path / "model.tar.gz", {"code/inference.py": ECHO_HANDLER})
    s3.upload_file(str(packed), "bucket", "models/model.tar.gz")

    def create_model(name, role, says=""):
        counts = tmp_path / f"counts-{name}"
        counts.mkdir(exist_ok=True)
        echo.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": URL,
                "Environment": {"COUNT_DIR": str(counts), "MODEL_SAYS": says},
            },
            ExecutionRoleArn=role,
        )

    said = refusal(lambda: create_model("shop-prod", OTHER))
    assert said.startswith(
        f"Could not assume role {OTHER}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
    said = refusal(lambda: create_model("shop-prod", TESTS))
    assert said.startswith(f"Could not access model data at {URL}. Please ensure that the role")
    create_model("shop-prod", MODELS)
    create_model("shop-shad", MODELS, "shadow")
    said = refusal(lambda: echo.experiment(100, DataStorageConfig=STORAGE, RoleArn=MODELS))
    assert said.startswith(
        f"The destination s3://bucket/captured cannot be written by the role {MODELS}: "
    )
    assert refusal(lambda: echo.experiment(100, RoleArn=OTHER)).startswith("Could not assume role")
    echo.experiment(100, DataStorageConfig=STORAGE, RoleArn=TESTS)
    for number in range(10):
        assert echo.invoke(f"{number}")["Body"].read() == str(number).encode()
    echo.stop()
    listed = s3.list_objects_v2(Bucket="bucket", Prefix="captured/shop/")["Contents"]
    records = [
        json.loads(line)
        for item in listed
        for line in s3.get_object(Bucket="bucket", Key=item["Key"])["Body"].read().splitlines()
    ]
    assert len(records) == 20
    log = gnomon.log.read_text()
    assert "Traceback" not in log
    assert "secret-of" not in log
