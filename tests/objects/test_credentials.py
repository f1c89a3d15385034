import json
import sys

import pytest

from gnomon.objects.credentials import credentials_of
from gnomon.objects.store import CredentialsUnavailable, ObjectStoreFailed
from gnomon.objects.stores import S3Objects
from gnomon.settings import ObjectsSettings

SCRIPT = """
import pathlib, sys
answers = pathlib.Path(sys.argv[1])
sys.exit("the broker is away") if not answers.exists() else print(answers.read_text())
"""


@pytest.fixture
def broker(tmp_path, monkeypatch):
    """Gives a profile credentials, to be renewed at every use, for as long as its file is there."""
    answers, script, config = (tmp_path / name for name in ("answers", "broker.py", "config"))
    script.write_text(SCRIPT)
    config.write_text(
        f"[profile brokered]\ncredential_process = {sys.executable} {script} {answers}\n"
    )
    answers.write_text(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": "a",
                "SecretAccessKey": "b",
                "SessionToken": "c",
                "Expiration": "2020-01-01T00:00:00Z",
            }
        )
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return answers


async def test_credentials_that_cannot_be_renewed_are_a_failure_of_the_store(broker):
    broker.write_text(broker.read_text().replace("2020", "2999"))
    ask = credentials_of(ObjectsSettings(store="s3", profile="brokered"))
    assert ask().token == "c"
    broker.write_text(broker.read_text().replace("2999", "2020"))
    ask = credentials_of(ObjectsSettings(store="s3", profile="brokered"))
    broker.unlink()
    with pytest.raises(CredentialsUnavailable):
        ask()
    store = S3Objects("http://127.0.0.1:1", "eu-west-1", ask, path_style=True)
    with pytest.raises(ObjectStoreFailed, match=r"s3://bucket/key.*the broker is away"):
        await store.put("s3://bucket/key", b"data")
