"""What every key service does: Gnomon's own, and AWS KMS's wire."""

import pytest

from gnomon.errors import SettingsError
from gnomon.model.arn import Account
from gnomon.objects import opening
from gnomon.objects.aws_keys import AwsKeys
from gnomon.objects.credentials import session
from gnomon.objects.keys import KeyServiceFailed, KeyUnusable
from gnomon.objects.local_keys import LocalKeys
from gnomon.settings import KeysSettings, Settings
from gnomon.testing.fake_kms import fake_kms

CONTEXT = {"aws:s3:arn": "arn:aws:s3:::bucket/a"}


@pytest.fixture
def local(tmp_path):
    keys = LocalKeys(tmp_path / "keys.json", Account("us-east-1", "000000000000"))
    keys.create(1.0, "", "captures")
    return keys


@pytest.fixture(params=["local", "aws"])
def keys(request, local, monkeypatch):
    if request.param == "local":
        yield local
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with fake_kms(local) as endpoint:
        yield AwsKeys("us-east-1", endpoint, session("keys.profile", ""))


def test_a_data_key_can_be_had_back(keys):
    made = keys.data_key("alias/captures", CONTEXT)
    assert len(made.plain) == 32
    assert keys.unwrap(made.wrapped, CONTEXT) == made.plain


def test_not_without_its_context(keys):
    made = keys.data_key("alias/captures", CONTEXT)
    with pytest.raises(KeyUnusable, match="made for another object, or changed"):
        keys.unwrap(made.wrapped, {})


def test_a_key_that_is_not_there_or_is_disabled_says_so(keys, local):
    with pytest.raises(KeyUnusable, match="KMS key alias/other cannot be used: it does not exist"):
        keys.data_key("alias/other", CONTEXT)
    local.enable("alias/captures", enabled=False)
    with pytest.raises(KeyUnusable, match="alias/captures cannot be used: it is disabled"):
        keys.data_key("alias/captures", CONTEXT)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (KeysSettings("aws", "kms.example.org"), "keys.endpoint is 'kms.example.org' and must"),
        (
            KeysSettings("aws", profile="none"),
            r"keys\.profile cannot be used: .*none.* not be found",
        ),
    ],
)
def test_settings_of_a_key_service_that_cannot_be_are_sentences(tmp_path, monkeypatch, keys, said):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=said):
        opening.check(Settings(tmp_path, keys=keys))


def test_a_key_service_that_is_away_says_nothing_of_the_key(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    keys = AwsKeys("us-east-1", "http://127.0.0.1:1", session("keys.profile", ""))
    with pytest.raises(KeyServiceFailed, match="cannot be used now: Could not connect"):
        keys.data_key("alias/captures", CONTEXT)
