import runpy
from pathlib import Path

import gnomon.store.migrate
from gnomon.model.records import EventRecord, IncarnationRecord
from gnomon.model.snapshot import Endpoint, Removed, Variant
from gnomon.model.spec import CaptureDefinition
from gnomon.store.state import instances, resources, routing
from gnomon.testing.builders import (
    a_plan,
    a_spec,
    a_variant,
    an_endpoint,
    an_experiment,
    an_instance,
)


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


async def test_experiments_are_due_while_they_change_and_at_their_times(database):
    plan = a_plan(starts_at_s=10.0, ends_at_s=20.0)
    statuses = ("Created", "Running", "Starting", "Completed", "Cancelled")
    async with database.writing() as connection:
        for status in statuses:
            record = an_experiment(id=status, name=status, status=status, plan=plan)
            await resources.EXPERIMENTS.add(connection, record)

    async def due(now_s):
        async with database.reading() as connection:
            found = await resources.due_experiments(connection, now_s)
        return [status for _, _, status in found.experiments], found.next_at_s

    assert await due(9.0) == (["Starting"], 10.0)
    assert await due(10.0) == (["Starting", "Created"], 20.0)
    assert await due(20.0) == (["Starting", "Created", "Running"], None)


async def test_endpoints_that_lack_an_instance_or_have_one_too_many_are_found(database):
    variant = a_variant(count=2)
    async with database.writing() as connection:
        for name, count in (("whole", 2), ("less", 1), ("none", 0), ("more", 3)):
            endpoint = an_endpoint(id=name, name=name, desired=a_spec(variant))
            await resources.ENDPOINTS.add(connection, endpoint)
            for number in range(count):
                instance = an_instance(variant, number, id=f"{name}{number}", endpoint_id=name)
                await instances.add_instance(connection, instance)
        failed = an_endpoint(id="failed", name="failed", status="Failed")
        await resources.ENDPOINTS.add(connection, failed)
    async with database.reading() as connection:
        assert set(await resources.lacking_endpoints(connection)) == {"less", "none", "more"}


async def test_a_configuration_is_used_by_endpoints_and_by_tests_that_go_back_to_it(database):
    former = a_spec(config_name="former")
    async with database.writing() as connection:
        desired = a_spec(config_name="desired")
        await resources.ENDPOINTS.add(
            connection, an_endpoint(desired=desired, serving=a_spec(config_name="serving"))
        )
        await resources.EXPERIMENTS.add(connection, an_experiment(plan=a_plan(former=former)))
        ended = an_experiment(
            id="ended",
            name="ended",
            status="Completed",
            plan=a_plan(former=a_spec(config_name="past")),
        )
        await resources.EXPERIMENTS.add(connection, ended)
    async with database.reading() as connection:
        used = {
            name: await resources.config_is_used(connection, name)
            for name in ("desired", "serving", "former", "past", "desire")
        }
    assert used == dict.fromkeys(("desired", "serving", "former"), True) | {
        "past": False,
        "desire": False,
    }


async def test_rows_of_an_older_gnomon_get_what_they_are_found_by(database):
    path = Path(gnomon.store.migrate.__file__).parent / "migrations/state/versions/0004_lists.py"
    fill = runpy.run_path(str(path))["_fill"]
    plan = a_plan(starts_at_s=10.0, ends_at_s=20.0)
    wanted = {"Created": 10.0, "Running": 20.0, "Updating": 0.0, "Completed": None}
    async with database.writing() as connection:
        spec = a_spec(a_variant(count=3), shadow=a_variant("S", count=2))
        await resources.ENDPOINTS.add(connection, an_endpoint(desired=spec))
        for status in wanted:
            record = an_experiment(id=status, name=status, status=status, plan=plan)
            await resources.EXPERIMENTS.add(connection, record)
        await connection.exec_driver_sql("UPDATE endpoints SET wanted = 0")
        await connection.exec_driver_sql("UPDATE experiments SET due_at_s = NULL")
        await connection.run_sync(fill)
        rows = await connection.exec_driver_sql("SELECT status, due_at_s FROM experiments")
        assert dict(tuple(row) for row in rows) == wanted
        counted = await connection.exec_driver_sql("SELECT wanted FROM endpoints")
        assert counted.scalar() == 5


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


async def test_endpoints_with_a_key_are_told_anew_unchanged(database):
    async with database.writing() as connection:
        for name, kms_key in (("a", "k"), ("b", ""), ("c", "other"), ("d", "k")):
            version = await routing.next_version(connection)
            entry = Endpoint(name, name, version, (), kms_key=kms_key)
            await routing.publish(connection, name, version, entry)
        await routing.publish(connection, "gone", await routing.next_version(connection), None)
    async with database.writing() as connection:
        await routing.tell_anew(connection, {"k"})
    async with database.reading() as connection:
        news = await routing.changes_since(connection, 5)
    assert news.version == 7
    assert [(each.id, each.version, each.kms_key) for each in news.endpoints] == [
        ("a", 6, "k"),
        ("d", 7, "k"),
    ]


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
