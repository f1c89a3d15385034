import msgspec
import pytest

from gnomon.model.spec import Container
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state.instances import get_instance, put_instance
from gnomon.store.state.resources import ENDPOINTS
from gnomon.testing.builders import a_spec, a_variant, an_endpoint
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.requests import make_endpoint


def instance(control, id_):
    async def read():
        async with control.transactions.database.reading() as connection:
            return await get_instance(connection, id_)

    return read


def has_status(control, id_, status):
    async def holds():
        record = await instance(control, id_)()
        return record if record.status == status else None

    return holds


@pytest.mark.slow
async def test_an_instance_that_no_longer_pings_is_ended_and_replaced(control, machine):
    await make_endpoint(control)
    (id_,) = machine.running()
    machine.instances[id_].ping_status = 500
    record = await control.until(has_status(control, id_, "Failed"), "the end of the instance")
    assert record.reason == "3 pings in a row failed"

    async def replaced():
        return machine.running() and id_ not in machine.running()

    await control.until(replaced, "another instance")


async def test_an_instance_that_takes_its_time_to_end_is_known_until_it_has(control, machine):
    await make_endpoint(control)
    (id_,) = machine.running()
    machine.may_stop.clear()
    machine.instances[id_].ping_status = 500
    await control.until(has_status(control, id_, "Failing"), "a failing instance")
    machine.may_stop.set()
    await control.until(has_status(control, id_, "Failed"), "its end")


async def test_what_was_failing_when_control_died_is_ended_by_the_next(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await make_endpoint(control)
        (id_,) = machine.running()
        record = await instance(control, id_)()
    # As a control that was killed between the row and the end would have left it.
    database = Database(sqlite_url(tmp_path / "state.db"))
    async with database.writing() as connection:
        await put_instance(connection, msgspec.structs.replace(record, status="Failing"))
    await database.close()
    async with running_control(tmp_path, machine, clock) as control:
        await control.until(has_status(control, id_, "Failed"), "its end")
        assert id_ not in machine.running()


@pytest.mark.parametrize(
    ("status", "reason"),
    [("InService", "gone when control came back"), ("Stopping", "no longer wanted")],
)
async def test_what_has_ended_while_control_was_away_says_whether_it_was_told_to(
    tmp_path, machine, status, reason
):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        await make_endpoint(control)
        (id_,) = machine.running()
        record = await instance(control, id_)()
    # As a control that was killed before it had recorded the end would have left it.
    machine.end(id_, -15)
    database = Database(sqlite_url(tmp_path / "state.db"))
    async with database.writing() as connection:
        await put_instance(connection, msgspec.structs.replace(record, status=status))
    await database.close()
    async with running_control(tmp_path, machine, clock) as control:
        found = await control.until(has_status(control, id_, "Stopped"), "its end")
    assert found.reason == reason


async def test_an_archive_that_does_not_come_in_time_fails_the_endpoint(tmp_path, machine):
    archive = Container("sagemaker-scikit-learn:1", "s3://bucket/endless.tar.gz", {})
    # Far below the least that the API takes.
    variant = a_variant(container=archive, download_time_limit_s=0.05)
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        record = an_endpoint(
            status="Creating",
            desired=a_spec(variant),
            serving=None,
            changing_since_s=control.transactions.steady_s(),
        )
        async with control.transactions.call() as call:
            await ENDPOINTS.add(call.connection, record)
        found = await control.until_endpoint("endpoint", "Failed")
    assert 'from URL: "s3://bucket/endless.tar.gz"' in found["FailureReason"]
    assert "it was not there within" in found["FailureReason"]
