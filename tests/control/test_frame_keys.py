import asyncio
import threading
import time

import pytest

from gnomon.control import frame_keys
from gnomon.control.frame_keys import FrameKeys
from gnomon.model.snapshot import Update
from gnomon.objects.keys import DataKey, KeyServiceFailed
from gnomon.testing.router_rig import endpoint


class Keys:
    """A key service that counts what it is asked, and fails or hangs when told to."""

    def __init__(self):
        self.asked = []
        self.fails = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def data_key(self, key, context):
        self.asked.append((key, dict(context)))
        assert self.may_answer.wait(10)
        if self.fails:
            raise KeyServiceFailed("it is away")
        return DataKey(bytes([len(self.asked)] * 32), key.encode())

    def unwrap(self, wrapped, context):
        raise NotImplementedError


class Feed:
    """Control's feed, which tells routers of the endpoints in the database anew."""

    def __init__(self, *endpoints):
        self.endpoints = endpoints
        self.keys = None
        # What routers know last, by endpoint.
        self.known = {}
        self.told_anew = []
        self.fails = False

    async def tell(self):
        update = await self.keys.told(Update(1, self.endpoints))
        self.known |= {endpoint.name: endpoint for endpoint in update.endpoints}
        return update.endpoints

    async def tell_anew(self, kms_keys):
        if self.fails:
            raise OSError("the database is locked")
        self.told_anew.append(set(kms_keys))
        await self.tell()


PLAIN = endpoint("plain")
FIRST, SECOND = (endpoint(name, kms_key="alias/volumes") for name in ("first", "second"))
OTHER = endpoint("other", kms_key="alias/others")


def a_feed(service, *endpoints):
    feed = Feed(*endpoints)
    feed.keys = FrameKeys(service, feed.tell_anew)
    return feed


async def test_endpoints_with_a_key_get_one_data_key_for_each_kms_key():
    service = Keys()
    feed = a_feed(service, PLAIN, FIRST, SECOND, OTHER)
    plain, first, second, other = await feed.tell()
    assert plain == PLAIN
    assert first.frame_key == second.frame_key != other.frame_key
    assert first.frame_key.wrapped == b"alias/volumes"
    assert (await feed.tell())[1].frame_key == first.frame_key
    assert sorted(key for key, _ in service.asked) == ["alias/others", "alias/volumes"]


async def test_a_key_that_cannot_be_had_keeps_nothing_from_routers_which_get_it_later():
    service = Keys()
    service.fails = True
    feed = a_feed(service, PLAIN, FIRST)
    assert await feed.tell() == (PLAIN, FIRST)
    await feed.keys.look()
    assert feed.told_anew == []
    service.fails = False
    await feed.keys.look()
    await feed.keys.look()
    assert feed.told_anew == [{"alias/volumes"}]
    assert feed.known["first"].frame_key is not None


async def test_what_could_not_be_told_anew_is_told_at_the_next_look():
    service = Keys()
    service.fails = True
    feed = a_feed(service, FIRST)
    await feed.tell()
    service.fails, feed.fails = False, True
    with pytest.raises(OSError, match="locked"):
        await feed.keys.look()
    feed.fails = False
    await feed.keys.look()
    assert feed.known["first"].frame_key is not None


async def test_a_key_service_that_hangs_is_waited_for_once_whatever_the_endpoints(monkeypatch):
    monkeypatch.setattr(frame_keys, "_PATIENCE_S", 0.25)
    service = Keys()
    service.may_answer.clear()
    many = [endpoint(str(number), kms_key=f"alias/{number}") for number in range(20)]
    feed = a_feed(service, *many)
    began_s = time.monotonic()
    try:
        assert await feed.tell() == tuple(many)
        # A wait for each would be 5 s.
        assert time.monotonic() - began_s < 2.5
    finally:
        service.may_answer.set()
    async with asyncio.timeout(30):
        while not all(endpoint.frame_key for endpoint in feed.known.values()):
            await feed.keys.look()
            await asyncio.sleep(0)
    assert len(service.asked) == 20
