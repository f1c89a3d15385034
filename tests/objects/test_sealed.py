import pytest

from gnomon.model.arn import Account
from gnomon.objects.keys import KeyUnusable
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.sealed import MAGIC, SealedObjects
from gnomon.objects.stores import DirectoryObjects

URL = "s3://bucket/captured/a.jsonl"


@pytest.fixture
def keys(tmp_path):
    keys = LocalKeys(tmp_path / "keys.json", Account("us-east-1", "000000000000"))
    keys.create(1.0, "", "captures")
    return keys


@pytest.fixture
def plain(tmp_path):
    return DirectoryObjects(tmp_path / "objects")


@pytest.fixture
def objects(plain, keys):
    return SealedObjects(plain, keys)


async def test_an_object_under_a_key_lies_sealed_and_is_read_in_clear(objects, plain, tmp_path):
    await objects.put_encrypted(URL, b"MARKER" * 1000, "alias/captures")
    stored = await plain.get(URL)
    assert stored.startswith(MAGIC)
    assert b"MARKER" not in stored
    assert await objects.get(URL) == b"MARKER" * 1000
    await objects.fetch(URL, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"MARKER" * 1000


async def test_an_object_without_a_key_is_as_it_was_put(objects, plain, tmp_path):
    await objects.put(URL, b"data")
    assert await plain.get(URL) == await objects.get(URL) == b"data"
    await objects.fetch(URL, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"data"


async def test_nothing_is_written_under_a_key_that_cannot_be_used(objects, keys):
    keys.enable("alias/captures", enabled=False)
    with pytest.raises(KeyUnusable, match="it is disabled"):
        await objects.put_encrypted(URL, b"data", "alias/captures")
    assert not await objects.exists(URL)


async def test_a_sealed_object_opens_only_where_it_was_written(objects, plain):
    await objects.put_encrypted(URL, b"data", "alias/captures")
    await plain.put("s3://bucket/elsewhere", await plain.get(URL))
    with pytest.raises(KeyUnusable, match="another object"):
        await objects.get("s3://bucket/elsewhere")


@pytest.mark.parametrize("at", [len(MAGIC) + 3, len(MAGIC) + 10, 100, -1])
async def test_a_changed_object_does_not_open(objects, plain, at):
    await objects.put_encrypted(URL, b"data" * 100, "alias/captures")
    stored = bytearray(await plain.get(URL))
    stored[at] ^= 1
    await plain.put(URL, bytes(stored))
    with pytest.raises(KeyUnusable):
        await objects.get(URL)


@pytest.mark.parametrize("length", [len(MAGIC), len(MAGIC) + 4, 60, 100, 124])
async def test_a_cut_object_is_an_error_of_ours(objects, plain, length):
    await objects.put_encrypted(URL, b"", "alias/captures")
    await plain.put(URL, (await plain.get(URL))[:length])
    with pytest.raises(KeyUnusable):
        await objects.get(URL)
