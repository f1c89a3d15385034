import asyncio

import pytest

from gnomon.control.feed import Feed, known_by_all, released
from gnomon.model.feed_wire import encode, read_message
from gnomon.model.records import IncarnationRecord
from gnomon.model.snapshot import Incarnation, Report, Update

ROUTER = Incarnation("I", 0, 1, 2.0, "boot")


def record(id_="I", **members):
    return IncarnationRecord(id_, 0, 1, 2.0, "boot", 3.0, **members)


@pytest.mark.parametrize(
    ("routers", "reports", "is_released"),
    [
        ([], {}, True),
        ([record()], {}, False),
        ([record()], {"I": Report(ROUTER, 4, ())}, False),
        ([record()], {"I": Report(ROUTER, 5, ("x",))}, False),
        ([record()], {"I": Report(ROUTER, 5, ("y",))}, True),
        ([record(dead_since_s=9.0)], {}, True),
        ([record(), record("J")], {"I": Report(ROUTER, 5, ())}, False),
    ],
    ids=["no router", "silent", "behind", "busy with it", "busy otherwise", "dead", "one silent"],
)
def test_an_instance_is_released_when_no_router_can_use_it(routers, reports, is_released):
    assert released(5, "x", routers, reports.get) is is_released


@pytest.mark.parametrize(
    ("routers", "reports", "known"),
    [
        ([], {}, True),
        ([record()], {}, False),
        ([record()], {"I": Report(ROUTER, 4, ())}, False),
        ([record()], {"I": Report(ROUTER, 5, ())}, True),
        ([record(dead_since_s=9.0)], {}, True),
    ],
)
def test_a_version_is_known_when_every_living_router_has_it(routers, reports, known):
    assert known_by_all(5, routers, reports.get) is known


@pytest.fixture
async def feed(tmp_path):
    state = {"version": 1}
    seen, said = [], []

    async def changes(_version):
        return Update(version=state["version"])

    async def first(incarnation):
        seen.append(incarnation)

    feed = Feed(changes, first, lambda: said.append(1))
    path = tmp_path / "feed.sock"
    await feed.serve(path)
    reader, writer = await asyncio.open_unix_connection(path)
    yield feed, state, seen, said, reader, writer
    writer.close()
    await feed.close()


async def ask(writer, reader, version):
    writer.write(encode(Report(ROUTER, version, ())))
    return await asyncio.wait_for(read_message(reader, Update), 30)


async def test_news_is_answered_at_once_and_the_report_is_kept(feed):
    hub, _, seen, said, reader, writer = feed
    assert (await ask(writer, reader, 0)).version == 1
    assert seen == [ROUTER]
    assert hub.report_of("I") == Report(ROUTER, 0, ())
    assert len(said) == 1


async def test_a_router_that_has_everything_waits_until_there_is_news(feed):
    hub, state, _, said, reader, writer = feed
    asking = asyncio.create_task(ask(writer, reader, 1))
    while not said:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    state["version"] = 2
    hub.announce()
    assert (await asking).version == 2


async def test_rubbish_on_the_feed_ends_that_connection_alone(feed, tmp_path):
    _, _, _, _, reader, writer = feed
    other_reader, other = await asyncio.open_unix_connection(tmp_path / "feed.sock")
    other.write(b"\xff" * 8)
    assert await asyncio.wait_for(other_reader.read(), 30) == b""
    other.close()
    assert (await ask(writer, reader, 0)).version == 1


async def test_only_this_user_may_open_the_feed(feed, tmp_path):
    assert (tmp_path / "feed.sock").stat().st_mode & 0o777 == 0o600
