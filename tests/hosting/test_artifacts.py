import asyncio
import contextlib
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from gnomon.errors import ModelDataNotFound, ModelDataNotKept, ModelDataUnavailable
from gnomon.hosting import artifacts
from gnomon.hosting.artifacts import check, prepare, remove_unfinished
from gnomon.objects.store import ObjectStoreFailed
from gnomon.objects.stores import DirectoryObjects
from gnomon.settings import HostingSettings
from gnomon.testing.small_disk import CannotMount, small_disk

LIMITS = HostingSettings()


def archive(content: bytes = b"weights") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("model.joblib")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class FakeStore:
    """One object, whatever its URL."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.urls: list[str] = []

    async def fetch(self, url: str, path: Path) -> None:
        self.urls.append(url)
        await asyncio.to_thread(path.write_bytes, self._content)


async def no_store(url: str, path: Path) -> None:
    raise ModelDataUnavailable(url, "there is no such object.")


async def test_an_archive_of_a_store(tmp_path):
    store = FakeStore(archive())

    model_dir = await prepare("s3://bucket/model.tar.gz", store.fetch, tmp_path, LIMITS)

    assert (model_dir / "model.joblib").read_bytes() == b"weights"
    assert model_dir == tmp_path / hashlib.sha256(archive()).hexdigest() / "model"
    assert store.urls == ["s3://bucket/model.tar.gz"]


@pytest.mark.parametrize("host", ["", "localhost"])
async def test_an_archive_on_this_machine(tmp_path, host):
    path = tmp_path / "with space.tar.gz"
    path.write_bytes(archive())
    url = f"file://{host}{tmp_path}/with%20space.tar.gz"

    model_dir = await prepare(url, no_store, tmp_path / "models", LIMITS)

    assert (model_dir / "model.joblib").read_bytes() == b"weights"
    assert path.exists()


async def test_equal_content_is_unpacked_once(tmp_path):
    store = FakeStore(archive())
    first = await prepare("s3://bucket/a", store.fetch, tmp_path, LIMITS)
    (first / "mark").touch()

    # Limits that would refuse it, were it unpacked again.
    strict = HostingSettings(max_archive_files=0)
    second = await prepare("s3://bucket/b", store.fetch, tmp_path, strict)

    assert first == second
    assert (second / "mark").exists()


async def test_other_content_has_another_place(tmp_path):
    first = await prepare("s3://b/m", FakeStore(archive(b"1")).fetch, tmp_path, LIMITS)
    second = await prepare("s3://b/m", FakeStore(archive(b"2")).fetch, tmp_path, LIMITS)

    assert (first / "model.joblib").read_bytes() == b"1"
    assert (second / "model.joblib").read_bytes() == b"2"


async def test_many_at_once(tmp_path):
    store = FakeStore(archive())

    places = await asyncio.gather(
        *(prepare("s3://bucket/model", store.fetch, tmp_path, LIMITS) for _ in range(10))
    )

    assert len(set(places)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [places[0].parent.name]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://bucket/gone", "no such object"),
        ("file:///no/such/file", "no such file"),
        ("file://elsewhere/model.tar.gz", "three slashes"),
        ("file:///", "directory"),
        ("https://bucket.s3.amazonaws.com/model.tar.gz", "s3://"),
        ("/just/a/path", "s3://"),
    ],
)
async def test_model_data_that_cannot_be_had(tmp_path, url, reason):
    with pytest.raises(ModelDataUnavailable, match=reason) as caught:
        await prepare(url, no_store, tmp_path, LIMITS)

    assert caught.value.url == url
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(small_disk(path, 1024**2))
        except CannotMount as error:
            pytest.skip(f"no file system can be mounted: {error}")
        yield path


@pytest.mark.parametrize(
    ("content", "is_copied"),
    [(bytes(4 * 1024**2), True), (os.urandom(2 * 1024**2), False)],
    ids=["the model", "the archive"],
)
@pytest.mark.parametrize("scheme", ["s3", "file"])
async def test_a_full_disk_is_said_and_nothing_half_unpacked_is_left(
    disk, tmp_path, content, is_copied, scheme
):
    packed = tmp_path / "model.tar.gz"
    packed.write_bytes(archive(content))
    assert (packed.stat().st_size < 1024**2) == is_copied
    url = "s3://bucket/model.tar.gz" if scheme == "s3" else f"file://{packed}"

    with pytest.raises(ModelDataNotKept) as caught:
        await prepare(url, FakeStore(packed.read_bytes()).fetch, disk / "models", LIMITS)

    assert str(caught.value) == (
        f"The model data at {url} cannot be unpacked in {disk / 'models'}: the disk is full: free "
        "space there."
    )
    assert list((disk / "models").iterdir()) == []
    # What there is room for can be had.
    await prepare("s3://bucket/small", FakeStore(archive()).fetch, disk / "models", LIMITS)


async def test_what_a_killed_control_left_half_unpacked_goes_and_models_stay(tmp_path):
    model_dir = await prepare("s3://bucket/m", FakeStore(archive()).fetch, tmp_path, LIMITS)
    began = asyncio.Event()

    async def endless(_url, path):
        path.write_bytes(b"half")
        began.set()
        await asyncio.Event().wait()

    unpacking = asyncio.create_task(prepare("s3://bucket/n", endless, tmp_path, LIMITS))
    await began.wait()
    assert len(list(tmp_path.iterdir())) == 2

    remove_unfinished(tmp_path)

    assert list(tmp_path.iterdir()) == [model_dir.parent]
    unpacking.cancel()
    await asyncio.gather(unpacking, return_exceptions=True)


async def test_what_is_no_archive_leaves_nothing_behind(tmp_path):
    with pytest.raises(ModelDataUnavailable, match=r"not a gzip-compressed tar archive"):
        await prepare("s3://bucket/model", FakeStore(b"text").fetch, tmp_path, LIMITS)

    assert list(tmp_path.iterdir()) == []


async def test_the_limits_are_kept(tmp_path):
    limits = HostingSettings(max_archive_bytes=100_000)

    with pytest.raises(ModelDataUnavailable, match="more than 100000 bytes"):
        await prepare("s3://b/m", FakeStore(archive(bytes(200_000))).fetch, tmp_path, limits)


async def test_a_caller_that_is_cancelled_leaves_nothing_behind(tmp_path):
    began = asyncio.Event()

    async def never(url: str, path: Path) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(prepare("s3://bucket/model", never, tmp_path, LIMITS))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert list(tmp_path.iterdir()) == []


async def has_it(url):
    return url.endswith("there.tar.gz")


async def has_no_answer(url):
    await asyncio.Event().wait()


async def cannot(url):
    raise ObjectStoreFailed(url, "connection refused")


async def test_an_archive_that_is_there_is_found(tmp_path):
    path = tmp_path / "with space.tar.gz"
    path.touch()
    await check("s3://bucket/there.tar.gz", has_it)
    await check(f"file://{tmp_path}/with%20space.tar.gz", has_it)


@pytest.mark.parametrize("url", ["s3://bucket/m.tar.gz", "file:///none.tar.gz", "file:///tmp"])
async def test_nothing_at_a_url_is_told_in_sagemakers_words(url):
    with pytest.raises(ModelDataNotFound) as caught:
        await check(url, has_it)
    assert str(caught.value) == f"Could not find model data at {url}."


@pytest.mark.parametrize(
    ("url", "exists", "said"),
    [
        ("s3://bucket/m.tar.gz", cannot, "connection refused"),
        ("s3://bucket/m.tar.gz", has_no_answer, "its store has not answered within"),
        ("s3://bucket/dir/", DirectoryObjects, "ends with a slash"),
        ("file://elsewhere/m.tar.gz", has_it, "three slashes"),
        ("file://[x/m.tar.gz", has_it, "invalid ipv6"),
        (f"file:///{'x' * 300}", has_it, "file name too long"),
        ("https://host/m.tar.gz", has_it, "must begin with s3:// or file://"),
    ],
)
async def test_a_check_that_cannot_be_made_says_why(tmp_path, monkeypatch, url, exists, said):
    monkeypatch.setattr(artifacts, "_CHECK_TIME_LIMIT_S", 0.05)
    if exists is DirectoryObjects:
        exists = DirectoryObjects(tmp_path / "objects").exists
    with pytest.raises(ModelDataUnavailable, match=said) as caught:
        await check(url, exists)
    assert not isinstance(caught.value, ModelDataNotFound)
