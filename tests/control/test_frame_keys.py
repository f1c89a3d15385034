import asyncio
import threading

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


PLAIN = endpoint("plain")
FIRST, SECOND = (endpoint(name, kms_key="alias/volumes") for name in ("first", "second"))
OTHER = endpoint("other", kms_key="alias/others")


async def told(keys, *endpoints):
    return (await keys.told(Update(1, endpoints))).endpoints


async def test_endpoints_with_a_key_get_one_data_key_for_each_kms_key():
    service = Keys()
    keys = FrameKeys(service)
    plain, first, second, other = await told(keys, PLAIN, FIRST, SECOND, OTHER)
    (again,) = await told(keys, FIRST)
    assert plain == PLAIN
    assert first.frame_key == second.frame_key == again.frame_key != other.frame_key
    assert first.frame_key.wrapped == b"alias/volumes"
    assert [key for key, _ in service.asked] == ["alias/volumes", "alias/others"]


async def test_a_key_that_cannot_be_had_keeps_nothing_from_routers_and_is_asked_for_again():
    service = Keys()
    service.fails = True
    keys = FrameKeys(service)
    plain, first = await told(keys, PLAIN, FIRST)
    assert (plain, first) == (PLAIN, FIRST)
    service.fails = False
    (first,) = await told(keys, FIRST)
    assert first.frame_key is not None


async def test_a_key_service_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(frame_keys, "_PATIENCE_S", 0.01)
    service = Keys()
    service.may_answer.clear()
    keys = FrameKeys(service)
    try:
        assert await told(keys, FIRST) == (FIRST,)
    finally:
        service.may_answer.set()
    async with asyncio.timeout(10):
        while (await told(keys, FIRST))[0].frame_key is None:
            pass
    assert len(service.asked) == 1
