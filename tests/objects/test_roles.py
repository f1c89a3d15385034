"""Which roles there are, and what is wrong with their settings. No store is asked here."""

import pytest

from gnomon.errors import SettingsError
from gnomon.objects import opening
from gnomon.objects.roles import RoleUnusable
from gnomon.settings import (
    ObjectsSettings,
    RoleCredentials,
    RoleSettings,
    Settings,
)

ROLE = "arn:aws:iam::111122223333:role/service-role/Test"
STATIC = RoleCredentials("id", "of-the-role")


def opened(settings):
    opening.check(settings)
    return opening.open_roles(settings, opening.open_keys(settings))


def strict(tmp_path, credentials=None, **sections):
    credentials = {ROLE: STATIC} if credentials is None else credentials
    return Settings(tmp_path, roles=RoleSettings(strict=True, credentials=credentials), **sections)


async def test_by_default_any_role_or_none_uses_what_is_configured(tmp_path):
    roles = opened(Settings(tmp_path))
    await roles.access(ROLE).objects.put("s3://bucket/a", b"x")
    assert await roles.access("").objects.get("s3://bucket/a") == b"x"
    roles.access(ROLE).prove()


async def test_with_strict_a_directory_is_for_known_roles_and_asks_for_nothing_more(tmp_path):
    roles = opened(strict(tmp_path, {ROLE: RoleCredentials()}))
    roles.access(ROLE).prove()
    await roles.access(ROLE).objects.put("s3://bucket/a", b"x")
    assert (tmp_path / "objects" / "bucket" / "a").read_bytes() == b"x"


def test_another_role_cannot_be_assumed_in_sagemakers_words(tmp_path):
    other = "arn:aws:iam::111122223333:role/Other"
    with pytest.raises(RoleUnusable) as refused:
        opened(strict(tmp_path)).access(other)
    assert str(refused.value) == (
        f"Could not assume role {other}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role. (roles.credentials in Gnomon's settings "
        "does not name it)"
    )


def test_who_names_no_role_has_nothing(tmp_path):
    with pytest.raises(RoleUnusable, match=r"No role is named: with roles\.strict"):
        opened(strict(tmp_path)).access("")


def test_gnomons_own_credentials_are_not_asked_for_where_only_roles_have_any(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    objects = ObjectsSettings("s3", "http://127.0.0.1:1")
    assert opened(strict(tmp_path, objects=objects)).access(ROLE).prove().access_key_id == "id"
    with pytest.raises(SettingsError, match=r"no credentials for the S3 store: set objects\."):
        opening.check(Settings(tmp_path, objects=objects))
    none = strict(tmp_path, {ROLE: RoleCredentials()}, objects=objects)
    with pytest.raises(
        SettingsError, match=rf'no credentials for \[roles\.credentials\."{ROLE}"\]'
    ):
        opening.check(none)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (RoleSettings(strict=True), "strict is true and roles.credentials names no role"),
        (RoleSettings(credentials={ROLE: STATIC}), "is used with roles.strict only"),
        (
            RoleSettings(strict=True, credentials={"Test": STATIC}),
            "names 'Test', which is no ARN of a role: arn:aws:iam::<account>:role/<name>",
        ),
        (
            RoleSettings(strict=True, credentials={ROLE: RoleCredentials("id")}),
            "must have both access_key_id and secret_access_key, or neither",
        ),
        (
            RoleSettings(strict=True, credentials={ROLE: RoleCredentials("id", "secret", "p")}),
            "must have either access_key_id or profile, not both",
        ),
        (
            RoleSettings(
                strict=True, credentials={ROLE: RoleCredentials(sts_endpoint="sts.example.org")}
            ),
            "has the sts_endpoint 'sts.example.org', which must begin with http",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_sentences_without_secrets(tmp_path, roles, said):
    with pytest.raises(SettingsError, match=said) as refused:
        opening.check(Settings(tmp_path, roles=roles))
    assert "secret'" not in str(refused.value)
    assert "of-the-role" not in str(refused.value)
    assert str(refused.value).endswith(".")
