import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.objects.store import Credentials, ObjectNotFound, ObjectStoreFailed
from gnomon.objects.stores import DirectoryObjects, S3Objects
from gnomon.objects.url import ObjectUrlInvalid
from gnomon.testing.s3_server import REGION


@pytest.fixture
def directory(tmp_path):
    return DirectoryObjects(tmp_path / "objects")


@pytest.fixture(params=["directory", pytest.param("s3", marks=[pytest.mark.slow, pytest.mark.e2e])])
async def objects(request):
    """What both kinds of store do, each does."""
    if request.param == "directory":
        return request.getfixturevalue("directory")
    store = request.getfixturevalue("s3_server").objects()
    # One server is there for all tests.
    async for item in store.list("s3://bucket"):
        await store.delete(item.url)
    return store


async def _list(objects, prefix):
    return {item.url async for item in objects.list(prefix)}


@pytest.mark.parametrize("key", ["a/b.jsonl", "x y/é#1/%20~*?", "a:b/[c]"])
async def test_an_object_is_a_plain_file_that_can_be_read_back(directory, tmp_path, key):
    await directory.put(f"s3://bucket/{key}", b"data")
    assert (tmp_path / "objects" / "bucket" / key).read_bytes() == b"data"
    assert await directory.get(f"s3://bucket/{key}") == b"data"


async def test_a_file_put_there_by_hand_is_an_object(directory, tmp_path):
    (tmp_path / "objects" / "bucket").mkdir()
    (tmp_path / "objects" / "bucket" / "m.tar.gz").write_bytes(b"model")
    assert await directory.get("s3://bucket/m.tar.gz") == b"model"
    assert await _list(directory, "s3://bucket") == {"s3://bucket/m.tar.gz"}


async def test_a_second_object_replaces_the_first(objects):
    await objects.put("s3://bucket/a", b"longer than the second")
    await objects.put("s3://bucket/a", b"second")
    assert await objects.get("s3://bucket/a") == b"second"


async def test_a_large_object_is_fetched_whole_into_a_file(objects, tmp_path):
    data = bytes(range(256)) * 40_000
    await objects.put("s3://bucket/model", data)
    await objects.fetch("s3://bucket/model", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == data
    assert not (tmp_path / "fetched.partial").exists()


async def test_what_is_not_there_is_not_found(objects, tmp_path):
    for call in (
        objects.get("s3://bucket/none"),
        objects.fetch("s3://bucket/none", tmp_path / "fetched"),
    ):
        with pytest.raises(ObjectNotFound, match="no object at s3://bucket/none"):
            await call
    assert not (tmp_path / "fetched").exists()


async def test_a_file_that_cannot_be_written_is_not_the_stores_fault(objects, tmp_path):
    await objects.put("s3://bucket/a", b"x")
    with pytest.raises(FileNotFoundError):
        await objects.fetch("s3://bucket/a", tmp_path / "no" / "folder")


async def test_exists_tells_objects_from_folders_and_nothing(objects):
    await objects.put("s3://bucket/a/b", b"x")
    assert await objects.exists("s3://bucket/a/b")
    assert await objects.size_bytes("s3://bucket/a/b") == len(await objects.get("s3://bucket/a/b"))
    with pytest.raises(ObjectNotFound):
        await objects.size_bytes("s3://bucket/none")
    assert not await objects.exists("s3://bucket/a")
    assert not await objects.exists("s3://bucket/none")
    assert not await objects.exists("s3://other/a/b")


async def test_a_deleted_object_is_gone_and_may_be_deleted_again(objects):
    await objects.put("s3://bucket/a", b"x")
    for _ in range(2):
        await objects.delete("s3://bucket/a")
    assert not await objects.exists("s3://bucket/a")


async def test_a_list_has_what_is_below_a_folder(objects):
    for key in ("f/a", "f/g/b", "ff/c", "d"):
        await objects.put(f"s3://bucket/{key}", b"x")
    assert await _list(objects, "s3://bucket/f/") == {"s3://bucket/f/a", "s3://bucket/f/g/b"}
    assert len(await _list(objects, "s3://bucket/")) == 4
    assert await _list(objects, "s3://bucket/none") == set()


async def test_a_list_tells_size_and_time(objects):
    await objects.put("s3://bucket/a", b"12345")
    (item,) = [item async for item in objects.list("s3://bucket")]
    assert item.size == 5
    assert abs(datetime.now(UTC) - item.modified) < timedelta(minutes=1)


async def test_a_url_that_leads_out_of_the_store_is_refused(objects, tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    for call in (
        objects.get("s3://bucket/../../secret"),
        objects.put("s3://../secret", b""),
        objects.delete("s3://bucket/../../secret"),
        _list(objects, "s3://bucket/.."),
    ):
        with pytest.raises(ObjectUrlInvalid):
            await call


async def test_what_the_directory_cannot_hold_is_the_stores_failure(directory):
    await directory.put("s3://bucket/a", b"x")
    with pytest.raises(ObjectStoreFailed, match="s3://bucket/a/b"):
        await directory.put("s3://bucket/a/b", b"x")


async def test_many_at_once(objects):
    urls = {f"s3://bucket/{number}" for number in range(50)}
    await asyncio.gather(*(objects.put(url, url.encode()) for url in urls))
    assert await _list(objects, "s3://bucket") == urls


@pytest.mark.parametrize("key", ["a/b.jsonl", "x y/é#1/%20~*?", "a:b/[c]"])
async def test_any_key_can_be_read_back_and_is_listed(objects, key):
    await objects.put(f"s3://bucket/{key}", b"data")
    assert await objects.get(f"s3://bucket/{key}") == b"data"
    assert await _list(objects, "s3://bucket") == {f"s3://bucket/{key}"}


@pytest.mark.slow
@pytest.mark.e2e
async def test_an_s3_store_says_in_its_own_words_why_it_refuses(s3_server):
    wrong = S3Objects(
        s3_server.endpoint, REGION, lambda: Credentials("gnomon", "wrong"), path_style=True
    )
    with pytest.raises(ObjectStoreFailed, match=r"access was denied \(SignatureDoesNotMatch: "):
        await wrong.put("s3://bucket/a", b"x")


@pytest.mark.slow
@pytest.mark.e2e
async def test_credentials_that_change_are_used_from_then_on(s3_server):
    now = [Credentials("gnomon", "wrong"), Credentials("gnomon", "gnomon")]
    store = S3Objects(s3_server.endpoint, REGION, lambda: now[0], path_style=True)
    with pytest.raises(ObjectStoreFailed):
        await store.put("s3://bucket/a", b"x")
    del now[0]
    await store.put("s3://bucket/a", b"x")
    assert await store.exists("s3://bucket/a")
