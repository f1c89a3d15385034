"""A database that is full, and a disk that nearly is: work waits, nothing is half done."""

import asyncio
import datetime as dt
import time
from contextlib import asynccontextmanager

import pytest
import structlog
from sqlalchemy import event, select

from gnomon.control.warnings import Waiting, Warnings
from gnomon.errors import DatabaseFailed
from gnomon.model.lifecycle import ENDPOINT
from gnomon.model.snapshot import Incarnation, Report
from gnomon.store.state import tables
from gnomon.testing import reliability
from gnomon.testing.control import CallRefused, Surroundings, put_together
from gnomon.testing.fake_host import FakeHost
from gnomon.testing.reliability import Measured, record
from gnomon.testing.requests import ROLE, experiment_request, make_endpoint, make_model

BOUNDLESS = 2**31 - 1


class Filled:
    """Lets a database have no page more than it has, and keeps its free space small."""

    def __init__(self, control):
        self.database = control.transactions.database
        self.control = control
        self.pages = BOUNDLESS
        event.listen(self.database.engine.sync_engine, "checkout", self._limit)

    def _limit(self, connection, _record, _proxy):
        cursor = connection.cursor()
        # One that is below what there is means what there is.
        cursor.execute(f"PRAGMA max_page_count = {self.pages}")
        cursor.close()

    async def fill(self):
        """Until nothing more goes in; the last refusal."""
        self.pages = 1
        for size in (100_000, 10_000, 1_000, 10):
            for number in range(1000):
                try:
                    await self.add_model(f"filler-{size}-{number}", size)
                except CallRefused as error:
                    refused = error
                    break
        # Every transition is a row here, too: of these even the smallest finds no room.
        with pytest.raises(DatabaseFailed):
            while True:
                async with self.control.transactions.call() as call:
                    await call.record(ENDPOINT, "filler", "filler", "", "", "")
        return refused

    async def add_model(self, name, size):
        values = {f"K{part}": "x" * 1000 for part in range(size // 1000)}
        values["LAST"] = "x" * (size % 1000)
        await self.control.call(
            "CreateModel",
            ModelName=name,
            PrimaryContainer={"Image": "image", "Environment": values},
            ExecutionRoleArn=ROLE,
        )

    def free(self):
        self.pages = BOUNDLESS

    async def rows(self):
        async with self.database.reading() as connection:
            return {
                table.name: [tuple(row) for row in await connection.execute(select(table))]
                for table in tables.metadata.sorted_tables
            }


@pytest.fixture
def full(control):
    return Filled(control)


def without_traceback(logs):
    return [entry for entry in logs if "exc_info" in entry] == []


async def test_a_call_that_writes_is_refused_by_a_sentence_and_leaves_the_rows_as_they_were(
    control, full, tmp_path
):
    await make_endpoint(control)
    with structlog.testing.capture_logs() as logs:
        refused = await full.fill()
        before = await full.rows()
        for request in (experiment_request(), experiment_request(name="other")):
            with pytest.raises(CallRefused):
                await control.call(
                    "CreateInferenceExperiment", **request | {"Description": "x" * 900}
                )
    assert refused.code == "ServiceUnavailable"
    assert refused.message == (
        f"The database {tmp_path / 'state.db'} cannot be written, since its disk is full: free "
        "space there."
    )
    assert await full.rows() == before
    assert without_traceback(logs)
    assert [e["event"] for e in logs].count("a database fails") < 10
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    assert found["EndpointStatus"] == "InService"
    assert full.database.troubles == (refused.message,)
    full.free()
    await make_model(control, "after")
    assert full.database.troubles == ()


@pytest.mark.fault
async def test_a_test_ends_by_its_schedule_once_there_is_space(control, full):
    await make_endpoint(control)
    await make_model(control, "shad")
    ends_at = dt.datetime.fromtimestamp(control.clock.now_s() + 3600, dt.UTC)
    await control.call(
        "CreateInferenceExperiment", **experiment_request(Schedule={"EndTime": ends_at})
    )
    await control.until_experiment("exp", "Running")
    serving = control.machine.running()
    with structlog.testing.capture_logs() as logs:
        await full.fill()
        control.clock.shift_s = 3600

        async def said():
            return [entry for entry in logs if entry["event"].startswith("a pass has to wait")]

        (waits,) = await control.until(said, "a pass that waits")
        assert waits["reason"].endswith("its disk is full: free space there.")
        found = await control.call("DescribeInferenceExperiment", Name="exp")
        assert found["Status"] == "Running"
    assert without_traceback(logs)
    assert control.machine.running() == serving
    full.free()
    free_s = time.monotonic()
    await control.until_experiment("exp", "Completed")
    record(reliability.DATABASE_FULL, Measured([time.monotonic() - free_s]))


@pytest.mark.slow
async def test_an_instance_whose_row_cannot_be_written_is_left_alone(control, full):
    await make_endpoint(control)
    with structlog.testing.capture_logs() as logs:
        await full.fill()
        (first,) = control.machine.running()
        control.machine.end(first, 1)

        async def said():
            return [entry for entry in logs if entry["event"] == "an instance has to wait"]

        await control.until(said, "an instance that waits")
        full.free()

        async def replaced():
            return control.machine.running() - {first}

        await control.until(replaced, "another instance")
        await control.until_endpoint("ep", "InService")
    assert without_traceback(logs)
    # The row has had its time to tell of the exit, not of a failure of Gnomon's.
    async with full.database.reading() as connection:
        reasons = list(await connection.scalars(select(tables.instances.c.reason)))
    assert not any("Gnomon failed" in (reason or "") for reason in reasons)


@asynccontextmanager
async def next_control(control, directory):
    """Another life on the same database as that of one that does nothing any more."""
    around = Surroundings(
        control.machine, control.clock, FakeHost(control.machine), control.transactions
    )
    successor = put_together(directory, around, ping_interval_s=0.05)
    running = asyncio.create_task(successor.loop.run())
    try:
        yield successor
    finally:
        successor.loop.close()
        await running
        await successor.keeper.close()


@pytest.mark.slow
async def test_control_that_begins_while_the_database_is_full_takes_up_what_it_can(
    control, full, tmp_path
):
    await make_endpoint(control, count=2)
    await full.fill()
    gone, there = sorted(control.machine.running())
    with structlog.testing.capture_logs() as logs:
        await control.rest()
        await control.keeper.close()
        # Its row cannot be written, and stands before the other one.
        control.machine.end(gone, 1)
        async with next_control(control, tmp_path) as successor:

            async def is_kept():
                return successor.keeper.keeps(there)

            await control.until(is_kept, "the instance that is there")

            async def said():
                return [entry for entry in logs if entry["event"].startswith("a pass has to wait")]

            (waits, *_) = await control.until(said, "a pass that waits")
            assert waits["reason"].endswith("its disk is full: free space there.")
            found = await successor.call("DescribeEndpoint", EndpointName="ep")
            assert found["EndpointStatus"] == "InService"

            # Between two that fail a transaction may end well that had nothing to write.
            async def is_troubled():
                return full.database.troubles

            await control.until(is_troubled, "a database that is in trouble")
            full.free()

            async def replaced():
                return len(control.machine.running() - {there}) == 1

            await control.until(replaced, "another instance in the place of the one that is gone")
    assert without_traceback(logs)
    assert control.machine.instances[there].status is None
    async with full.database.reading() as connection:
        reason = await connection.scalar(
            select(tables.instances.c.reason).where(tables.instances.c.id == gone)
        )
    assert reason == "gone when control came back"


async def test_little_free_space_refuses_what_is_new_and_nothing_else(control, tmp_path):
    await make_endpoint(control)
    await make_model(control, "shad")
    control.disk.free = 100 * 1024**2
    with pytest.raises(CallRefused, match="Only 100 MiB are free on the disk of") as refused:
        await control.call("CreateInferenceExperiment", **experiment_request())
    assert refused.value.code == "ServiceUnavailable"
    assert refused.value.message.endswith("free space there.")
    await control.call("DescribeEndpoint", EndpointName="ep")
    await control.call("DeleteModel", ModelName="shad")
    control.disk.free = 1024**3
    await make_model(control, "shad")


async def test_what_is_out_of_order_is_said_for_each_thing(control, full, tmp_path):
    reports = {}
    spool = tmp_path / "spool"
    warnings = Warnings(control.api.floor, (full.database,), reports.get, spool, control.clock, str)
    router = Incarnation("r", 0, 1, 0.0, "boot")
    record = type("Row", (), {"id": "r", "slot": 0, "dead_since_s": None})()
    reports["r"] = Report(router, 1, ())
    assert await warnings.waiting() == Waiting(0, 0.0)
    assert await warnings.now([record], await warnings.waiting()) == []
    reports["r"] = Report(router, 1, (), "no room")
    control.disk.free = 0
    (spool / "r").mkdir(parents=True)
    (spool / "r" / "00000001.seg").write_bytes(bytes(1024**2))
    control.clock.shift_s = 100
    low, routers, collector = await warnings.now([record], await warnings.waiting())
    assert low.startswith("Only 0 MiB are free")
    assert routers == "Router 0: no room"
    assert collector.startswith("The collector is 10")
    assert "(1.0 MiB wait)" in collector
    (spool / "r" / "00000001.seg").rename(spool / "r" / "00000001.open")
    assert len(await warnings.now([record], await warnings.waiting())) == 2
