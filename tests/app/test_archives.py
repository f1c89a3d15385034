"""Model archives by their models' roles, on an S3 server that knows who asks."""

import io
import tarfile
from pathlib import Path

import pytest

from gnomon.app.archives import Archives
from gnomon.errors import ModelDataDenied, ModelDataNotFound, ModelDataUnavailable, ValidationFailed
from gnomon.hosting.volumes import Volumes
from gnomon.model.layout import Layout
from gnomon.objects import opening
from gnomon.settings import ObjectsSettings, RoleCredentials, RoleSettings, Settings
from gnomon.testing.s3_server import S3Server, credentials_of

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

BEGINNING = "arn:aws:iam::111122223333:role/"
READER, NOBODY, OTHER = (f"{BEGINNING}{name}" for name in ("reader", "nobody", "other"))
URL = "s3://bucket/models/model.tar.gz"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    users = {"reader": ["Read:bucket/models/*", "List:bucket"], "nobody": []}
    server = S3Server(tmp_path_factory.mktemp("s3"), users)
    server.start()
    try:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            member = tarfile.TarInfo("weights")
            member.size = 2
            tar.addfile(member, io.BytesIO(b"42"))
        body = packed.getvalue()
        server.client().put_object(Bucket="bucket", Key="models/model.tar.gz", Body=body)
        yield server
    finally:
        server.stop()


def archives(tmp_path, server, roles):
    objects = ObjectsSettings("s3", server.endpoint, "eu-west-1", "gnomon", "gnomon")
    settings = Settings(tmp_path, objects=objects, roles=roles)
    opened = opening.open_roles(settings, opening.open_keys(settings))
    layout = Layout(tmp_path)
    return Archives(settings, layout, opened, Volumes(Path("/dev/shm"), tmp_path))


@pytest.fixture
def strict(tmp_path, server):
    credentials = {}
    for role_arn in (READER, NOBODY):
        known = credentials_of(role_arn.rpartition("/")[2])
        credentials[role_arn] = RoleCredentials(known.access_key_id, known.secret_access_key)
    return archives(tmp_path, server, RoleSettings(strict=True, credentials=credentials))


async def test_an_archive_is_had_with_its_models_role_alone(strict):
    await strict.check(URL, READER)
    directory = await strict.prepare(URL, READER, None)
    assert (directory / "weights").read_bytes() == b"42"
    with pytest.raises(
        ModelDataNotFound, match="Could not find model data at s3://bucket/models/x"
    ):
        await strict.check("s3://bucket/models/x", READER)
    with pytest.raises(ModelDataUnavailable, match="access was denied"):
        await strict.prepare(URL, NOBODY, None)


async def test_a_role_that_may_not_read_it_is_refused_in_sagemakers_words(strict):
    with pytest.raises(ModelDataDenied) as refused:
        await strict.check(URL, NOBODY)
    assert str(refused.value).startswith(
        f'Could not access model data at {URL}. Please ensure that the role "{NOBODY}" exists and '
        'that its trust relationship policy allows the action "sts:AssumeRole" for the service '
        'principal "sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" '
        "permissions and that the object is located in eu-west-1. (access was denied ("
    )


@pytest.mark.parametrize("url", [URL, None])
async def test_a_role_that_is_not_known_is_refused_whether_it_has_anything_to_read(strict, url):
    with pytest.raises(ValidationFailed, match=f"^Could not assume role {OTHER}. Please ensure"):
        await strict.check(url, OTHER)
    if url:
        with pytest.raises(ModelDataUnavailable, match=f"Could not assume role {OTHER}"):
            await strict.prepare(url, OTHER, None)


async def test_without_a_role_there_is_what_needs_none(strict, tmp_path):
    await strict.check(None, "")
    (tmp_path / "local.tar.gz").write_bytes(b"")
    await strict.check(f"file://{tmp_path}/local.tar.gz", "")
    with pytest.raises(ModelDataUnavailable, match=r"No role is named: with roles\.strict"):
        await strict.check(URL, "")


async def test_without_strict_gnomons_own_credentials_do_for_any_role(tmp_path, server):
    lenient = archives(tmp_path, server, RoleSettings())
    await lenient.check(URL, OTHER)
    directory = await lenient.prepare(URL, "", None)
    assert (directory / "weights").read_bytes() == b"42"
