from gnomon.model.records import EventRecord, IncarnationRecord
from gnomon.model.snapshot import Endpoint, Removed, Variant
from gnomon.model.spec import CaptureDefinition
from gnomon.store.state import instances, resources, routing
from gnomon.testing.builders import a_variant, an_endpoint, an_experiment, an_instance


async def test_records_come_back_as_they_were(database):
    for resource, record in (
        (resources.ENDPOINTS, an_endpoint(serving=None)),
        (resources.EXPERIMENTS, an_experiment()),
    ):
        async with database.writing() as connection:
            await resource.add(connection, record)
        async with database.reading() as connection:
            assert await resource.get(connection, record.id) == record
            assert await resource.find(connection, record.name.upper()) == record
            assert await resource.all(connection) == [record]


async def test_an_instance_and_a_capture_and_an_event_come_back_as_they_were(database):
    instance = an_instance(a_variant(), ended_at_s=3.0, left_version=4)
    event = EventRecord("E", 1.0, 1.0, "endpoint", "O", "ep", "", "Creating", "why")
    definition = CaptureDefinition("s3://bucket/x", ("text/csv",), ())
    async with database.writing() as connection:
        await instances.add_instance(connection, instance)
        await instances.add_capture(connection, "C", definition)
        await instances.add_event(connection, event)
    async with database.reading() as connection:
        assert await instances.get_instance(connection, instance.id) == instance
        assert await instances.get_capture(connection, "C") == definition
        assert await instances.get_capture(connection, "D") is None
        assert await instances.events_of(connection, "O") == [event]
        assert await instances.events_of(connection, "P") == []


async def test_instances_are_found_by_status_or_by_a_recent_end(database):
    variant = a_variant()
    kept = an_instance(variant, 1)
    recent = an_instance(variant, 2, status="Failed", ended_at_s=10.0)
    old = an_instance(variant, 3, status="Failed", ended_at_s=1.0)
    async with database.writing() as connection:
        for record in (kept, recent, old):
            await instances.add_instance(connection, record)
    async with database.reading() as connection:
        found = await instances.instances_of(
            connection, "endpoint-id", ("InService",), ended_since_s=5.0
        )
    assert found == [kept, recent]


async def test_versions_never_go_back_and_a_router_gets_only_what_it_lacks(database):
    def entry(name, version):
        return Endpoint(name, name, version, (Variant("v", "v", 1.0, ()),))

    async with database.writing() as connection:
        for name in ("a", "b"):
            version = await routing.next_version(connection)
            await routing.publish(connection, name, version, entry(name, version))
    async with database.writing() as connection:
        version = await routing.next_version(connection)
        await routing.publish(connection, "a", version, None)
    async with database.reading() as connection:
        everything = await routing.changes_since(connection, 0)
        news = await routing.changes_since(connection, 2)
        assert await routing.published(connection, "a") is None
    assert everything.version == news.version == 3
    assert [endpoint.name for endpoint in everything.endpoints] == ["b"]
    assert everything.removed == news.removed == (Removed("a", 3),)
    assert news.endpoints == ()


async def test_an_incarnation_is_kept_once_and_forgotten_when_its_records_are_in(database):
    record = IncarnationRecord("I", 0, 1, 2.0, "boot", 3.0)
    async with database.writing() as connection:
        await routing.add_incarnation(connection, record)
        await routing.add_incarnation(connection, record)
    async with database.reading() as connection:
        assert await routing.incarnations(connection) == [record]
    async with database.writing() as connection:
        gone = IncarnationRecord("I", 0, 1, 2.0, "boot", 3.0, dead_since_s=4.0, gone=True)
        await routing.put_incarnation(connection, gone)
    async with database.reading() as connection:
        assert await routing.incarnations(connection) == []
