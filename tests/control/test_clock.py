"""The machine's clock is set a day forward or back: schedules follow it, durations do not."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.control.reports import Reports
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.testing import reliability
from gnomon.testing.analyses import a_judge
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.reliability import Measured, record
from gnomon.testing.requests import experiment_request, make_config, make_endpoint, make_model

DAY_S = 86_400.0
either_way = pytest.mark.parametrize("shift_s", [DAY_S, -DAY_S], ids=["forward", "back"])


async def test_a_clock_set_forward_starts_and_ends_what_is_due_by_it(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    tomorrow = datetime.fromtimestamp(control.clock.now_s(), UTC) + timedelta(days=1)
    schedule = {"StartTime": tomorrow, "EndTime": tomorrow + timedelta(days=1)}
    await control.call("CreateInferenceExperiment", **experiment_request(Schedule=schedule))
    await control.until_experiment("exp", "Created")
    control.clock.shift_s = DAY_S + 1
    await control.until_experiment("exp", "Running")
    control.clock.shift_s = 2 * DAY_S + 1
    await control.until_experiment("exp", "Completed")


async def test_a_clock_set_back_leaves_a_running_test_running_until_its_end_comes(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    ends = (await control.until_experiment("exp", "Running"))["Schedule"]["EndTime"]
    control.clock.shift_s = -DAY_S
    control.loop.ring()
    assert (await control.until_experiment("exp", "Running"))["Schedule"]["EndTime"] == ends
    control.clock.shift_s = 7 * DAY_S + 1
    await control.until_experiment("exp", "Completed")


@pytest.mark.slow
@pytest.mark.fault
@either_way
async def test_a_failed_instance_is_started_again_at_its_time(control, shift_s):
    await make_endpoint(control)
    (first,) = control.machine.running()
    ended_s = time.monotonic()
    control.machine.end(first, 1)
    control.clock.shift_s = shift_s

    async def replaced():
        return control.machine.running()

    await control.until(replaced, "another instance")
    # Its first failure costs it a second; by the clock it would be none, or a day.
    whole_s = time.monotonic() - ended_s
    assert whole_s > 1.0
    record(reliability.CLOCK_SET, Measured([whole_s]))


@either_way
async def test_an_update_that_fails_is_over_when_its_instance_has_failed(control, shift_s):
    await make_endpoint(control)
    await make_model(control, "gone", url="s3://bucket/gone.tar.gz")
    await make_config(control, "gone-config", "gone")
    control.clock.shift_s = shift_s
    await control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="gone-config")
    control.clock.shift_s = 2 * shift_s
    endpoint = await control.until_endpoint("ep", "InService")
    assert endpoint["FailureReason"].startswith("Failed to download model data")
    assert endpoint["EndpointConfigName"] == "ep-config"


async def test_steady_time_goes_on_through_lives_and_days(tmp_path, machine):
    clock = FakeClock()
    async with running_control(tmp_path, machine, clock) as control:
        before_s, id_before = control.transactions.steady_s(), control.transactions.new_id()
    clock.shift_s = -DAY_S
    async with running_control(tmp_path, machine, clock) as control:
        after_s, id_after = control.transactions.steady_s(), control.transactions.new_id()
    assert 0 < after_s - before_s < 60
    assert id_before < id_after


@pytest.mark.parametrize("shift_s", [DAY_S, -DAY_S, 0.0], ids=["forward", "back", "as it was"])
async def test_a_report_says_how_long_a_test_ran_whatever_the_clock_did(control, tmp_path, shift_s):
    await migrate("telemetry", sqlite_url(tmp_path / "telemetry.db"))
    telemetry = Database(sqlite_url(tmp_path / "telemetry.db"))
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    await control.until_experiment("exp", "Running")
    control.clock.shift_s = shift_s
    judge = a_judge(control.transactions.database, telemetry)
    report = await Reports(control.transactions, telemetry, judge).experiment("exp")
    assert 0 < report["seconds"] < 20
    await telemetry.close()
