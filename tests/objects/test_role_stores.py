"""Stores as roles have them, on an S3 server that knows who asks: it is what refuses and takes."""

import asyncio
import time
from dataclasses import replace

import pytest

from gnomon.errors import SettingsError
from gnomon.model.arn import Account
from gnomon.objects import opening
from gnomon.objects.keys import KeyUnusable
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import RoleUnusable
from gnomon.objects.sealed import MAGIC
from gnomon.objects.store import ObjectDenied
from gnomon.objects.stores import S3Objects
from gnomon.settings import KeysSettings, ObjectsSettings, RoleCredentials, RoleSettings, Settings
from gnomon.testing.fake_kms import fake_kms
from gnomon.testing.s3_server import REGION, S3Server, credentials_of

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

BEGINNING = "arn:aws:iam::111122223333:role/"
READER, WRITER = f"{BEGINNING}Reader", f"{BEGINNING}Writer"
MODEL, RECORD = "s3://bucket/models/a.tar.gz", "s3://bucket/captured/a.jsonl"
READS = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:ListBucket"],
    "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/models/*"],
}
WRITES = {
    "Effect": "Allow",
    "Action": ["s3:PutObject", "s3:DeleteObject"],
    "Resource": ["arn:aws:s3:::bucket/captured/*"],
}
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = S3Server(
        tmp_path_factory.mktemp("s3"),
        users={
            "reader": ["Read:bucket/models/*"],
            "writer": ["Write:bucket/captured/*"],
            "nobody": [],
        },
        roles={READER: [READS], WRITER: [WRITES]},
    )
    server.start()
    try:
        server.client().put_object(Bucket="bucket", Key="models/a.tar.gz", Body=b"model")
        yield server
    finally:
        server.stop()


def static(user, **members):
    known = credentials_of(user)
    return RoleCredentials(known.access_key_id, known.secret_access_key, **members)


def opened(tmp_path, server, kms_endpoint="", **credentials):
    """What roles may use, by settings with these credentials of the role `Reader` or `Writer`."""
    settings = Settings(
        tmp_path,
        objects=ObjectsSettings("s3", server.endpoint, REGION, encryption="envelope"),
        keys=KeysSettings("aws", kms_endpoint) if kms_endpoint else KeysSettings(),
        roles=RoleSettings(
            strict=True,
            credentials={f"{BEGINNING}{name}": value for name, value in credentials.items()},
        ),
    )
    opening.check(settings)
    return opening.open_roles(settings, opening.open_keys(settings))


async def reads_models_alone(access):
    assert await access.objects.get(MODEL) == b"model"
    with pytest.raises(ObjectDenied, match=r"access was denied \(AccessDenied: "):
        await access.objects.put(RECORD, b"x")


async def writes_captures_alone(access):
    await access.objects.put(RECORD, b"x")
    with pytest.raises(ObjectDenied, match=r"access was denied \(AccessDenied: "):
        await access.objects.get(MODEL)


async def test_each_role_has_its_own_credentials_from_the_settings(tmp_path, server):
    roles = opened(tmp_path, server, Reader=static("reader"), Writer=static("writer"))
    await reads_models_alone(roles.access(READER))
    await writes_captures_alone(roles.access(WRITER))


async def test_or_those_of_a_profile(tmp_path, server, monkeypatch):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = secret-of-nobody\n"
        "[captures]\naws_access_key_id = writer\naws_secret_access_key = secret-of-writer\n"
    )
    roles = opened(
        tmp_path, server, Writer=RoleCredentials(profile="captures"), Reader=RoleCredentials()
    )
    await writes_captures_alone(roles.access(WRITER))
    # As every AWS tool finds them.
    with pytest.raises(ObjectDenied):
        await roles.access(READER).objects.get(MODEL)


async def test_or_what_an_sts_gives_who_assumes_it(tmp_path, server):
    asks = static("nobody", sts_endpoint=server.endpoint)
    roles = opened(tmp_path, server, Reader=asks, Writer=asks)
    await reads_models_alone(roles.access(READER))
    await writes_captures_alone(roles.access(WRITER))
    # It is asked for again when they are about to end, not at each use.
    assert roles.access(WRITER).prove() == roles.access(WRITER).prove()


@pytest.mark.parametrize(
    ("role", "credentials", "said"),
    [
        ("Other", {}, r"\(AccessDenied: user nobody is not authorized to assume role .*Other\)"),
        ("Reader", {"secret_access_key": "wrong"}, r"\(SignatureDoesNotMatch: "),
        ("Reader", {"sts_endpoint": "http://127.0.0.1:1"}, r"\(Could not connect to the endpoint"),
    ],
)
async def test_a_role_that_cannot_be_assumed_says_so_in_sagemakers_words_and_whose_fault_it_is(
    tmp_path, server, role, credentials, said
):
    asks = replace(static("nobody", sts_endpoint=server.endpoint), **credentials)
    access = opened(tmp_path, server, **{role: asks}).access(f"{BEGINNING}{role}")
    words = (
        f"Could not assume role {BEGINNING}{role}. Please ensure that the role exists and allows "
        r"principal 'sagemaker.amazonaws.com' to assume the role. "
    )
    with pytest.raises(RoleUnusable, match=words + said):
        access.prove()
    with pytest.raises(RoleUnusable, match=said):
        await access.objects.put(RECORD, b"x")


async def test_what_an_sts_gives_is_renewed_before_it_ends(tmp_path):
    (tmp_path / "s3").mkdir()
    server = S3Server(tmp_path / "s3", users={"nobody": []}, roles={WRITER: [WRITES]}, session="6s")
    try:
        server.start()
        asks = static("nobody", sts_endpoint=server.endpoint)
        access = opened(tmp_path, server, Writer=asks).access(WRITER)
        first = access.prove()
        fixed = S3Objects(server.endpoint, REGION, lambda: first, path_style=True)
        await fixed.put(RECORD, b"x")
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline_s, "what the STS gave first does not end"
            await access.objects.put(RECORD, b"x")
            try:
                await fixed.put(RECORD, b"x")
            except ObjectDenied:
                break
            await asyncio.sleep(0.2)
        await access.objects.put(RECORD, b"x")
    finally:
        server.stop()


async def test_a_roles_keys_are_used_with_its_credentials_too(tmp_path, server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-own")
    local = LocalKeys(tmp_path / "keys.json", Account(REGION, "111122223333"))
    local.create(1.0, "", "captures")
    may = set()
    with fake_kms(local, may) as kms:
        asks = static("nobody", sts_endpoint=server.endpoint)
        roles = opened(tmp_path, server, kms, Reader=static("writer"), Writer=asks)
        static_one, assumed = roles.access(READER), roles.access(WRITER)
        may |= {"own", "nobody"}
        for access in (static_one, assumed):
            with pytest.raises(KeyUnusable, match="access is denied"):
                await access.objects.put_encrypted(RECORD, b"x", "alias/captures")
        may |= {"writer", assumed.prove().access_key_id}
        for access in (static_one, assumed):
            await access.objects.put_encrypted(RECORD, b"x", "alias/captures")
    stored = server.client().get_object(Bucket="bucket", Key="captured/a.jsonl")["Body"].read()
    assert stored.startswith(MAGIC)


def test_a_profile_that_is_not_there_is_an_error_of_the_settings(tmp_path, server, monkeypatch):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(
        SettingsError, match=r'roles\.credentials\."arn.*Reader"\.profile cannot be'
    ):
        opened(tmp_path, server, Reader=RoleCredentials(profile="none"))
