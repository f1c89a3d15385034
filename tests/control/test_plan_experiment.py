import msgspec
import pytest

from gnomon.control.actions import BeginTest, CheckModelData, EndpointView, EndTest, SetStatus
from gnomon.control.plan_experiment import BARRIER_TIME_LIMIT_S, plan_experiment
from gnomon.model.experiment import Ending
from gnomon.model.snapshot import Experiment
from gnomon.testing.builders import a_plan, a_spec, a_variant, an_experiment

FORMER = a_spec()
TEST = a_spec(
    shadow=a_variant("Shadow"), experiment=Experiment("experiment-id", "experiment", 1000.0)
)
ENDING = Ending("Completed", "done", FORMER, "barrier", since_s=500.0)


def view(desired=FORMER, status="InService", failure_reason=""):
    return EndpointView(status, failure_reason, desired, desired)


def plan(experiment, endpoint, missing=0, now_s=500.0, steady_s=500.0):
    return plan_experiment(experiment, endpoint, missing, now_s, steady_s, "new-barrier")


def started(**members):
    return an_experiment(plan=a_plan(former=FORMER), **members)


def test_a_test_that_is_due_begins_when_its_endpoint_is_in_service():
    experiment = an_experiment(status="Creating")
    assert plan(experiment, view(status="Creating")) == []
    assert plan(experiment, view()) == [BeginTest()]


def test_a_test_for_later_only_checks_its_model():
    experiment = an_experiment(status="Creating", plan=a_plan(starts_at_s=900.0))
    assert plan(experiment, view()) == [CheckModelData()]


def test_a_scheduled_test_starts_at_its_time_and_not_before():
    experiment = an_experiment(status="Created", plan=a_plan(starts_at_s=900.0))
    assert plan(experiment, view(), now_s=899.9) == []
    assert plan(experiment, view(), now_s=900.0) == [SetStatus("Starting")]


def test_a_test_whose_whole_window_was_missed_is_cancelled():
    experiment = an_experiment(status="Created")
    (action,) = plan(experiment, view(), now_s=1000.0)
    assert (action.status, bool(action.reason)) == ("Cancelled", True)


@pytest.mark.parametrize("status", ["Creating", "Starting"])
def test_a_test_runs_when_its_endpoint_has_settled(status):
    experiment = started(status=status)
    assert plan(experiment, view(TEST, "Updating")) == []
    assert plan(experiment, view(TEST)) == [SetStatus("Running")]


def test_an_endpoint_that_went_back_by_itself_cancels_the_test_with_its_reason():
    experiment = started(status="Creating")
    endpoint = view(FORMER, failure_reason="no ping")
    (action,) = plan(experiment, endpoint)
    assert action.status == "Cancelled"
    assert action.reason.startswith("no ping The endpoint serves on as before.")
    assert action.reason.endswith("Mend the cause, and create the test again.")


def test_a_running_test_ends_at_its_time_and_goes_back():
    assert plan(started(), view(TEST), now_s=999.9) == []
    (action,) = plan(started(), view(TEST), now_s=1000.0)
    assert isinstance(action, EndTest)
    assert (action.ending.outcome, action.ending.target) == ("Completed", FORMER)
    assert action.ending.barrier_id == "new-barrier"


@pytest.mark.parametrize("endpoint", [None, view(status="Failed"), view(status="Deleting")])
@pytest.mark.parametrize("status", ["Creating", "Created", "Running", "Stopping"])
def test_without_its_endpoint_a_test_is_cancelled(status, endpoint):
    experiment = started(status=status)
    (action,) = plan(experiment, endpoint)
    assert action.status == "Cancelled"
    assert "endpoint" in action.reason


@pytest.mark.parametrize("endpoint", [None, view(status="Failed"), view(status="Updating")])
def test_what_becomes_of_the_endpoint_before_the_start_cancels_nothing(endpoint):
    experiment = an_experiment(status="Created", plan=a_plan(starts_at_s=10.0))
    assert plan(experiment, endpoint, now_s=9.9) == []


@pytest.mark.parametrize("status", ["Created", "Starting", "Creating"])
def test_a_test_that_could_not_begin_within_its_window_is_cancelled(status):
    experiment = an_experiment(status=status, plan=a_plan())
    (action,) = plan(experiment, view(status="Updating"), now_s=1000.0)
    assert (action.status, "whole window" in action.reason) == ("Cancelled", True)
    assert action.reason.endswith("Create it again with a later EndTime.")


def test_a_late_start_waits_for_its_endpoint_and_keeps_its_end():
    experiment = an_experiment(status="Starting", plan=a_plan())
    assert plan(experiment, view(status="Updating"), now_s=999.0) == []


def stopping(**members):
    return an_experiment(status="Stopping", plan=a_plan(former=FORMER, ending=ENDING, **members))


def test_a_test_has_ended_when_all_its_records_are_in():
    assert plan(stopping(), view(status="Updating")) == []
    assert plan(stopping(), view(), missing=1) == []
    assert plan(stopping(), view()) == [SetStatus("Completed", "done")]


def test_missing_records_are_waited_for_five_minutes_and_then_named():
    limit_s = 500.0 + BARRIER_TIME_LIMIT_S
    assert plan(stopping(), view(), missing=2, now_s=86_400.0, steady_s=limit_s - 1) == []
    (action,) = plan(stopping(), view(), missing=2, now_s=500.0, steady_s=limit_s)
    assert action.status == "Completed"
    assert "2 router" in action.reason


def test_when_the_end_state_cannot_be_had_the_shadow_alone_is_dropped():
    (action,) = plan(stopping(), view(TEST, failure_reason="no ping"))
    assert isinstance(action, EndTest)
    target = action.ending.target
    assert (target.production, target.shadow, target.experiment) == (TEST.production, None, None)
    assert action.ending.outcome == "Cancelled"
    assert "no ping" in action.ending.reason
    assert action.ending.reason.endswith("bring it to that state with UpdateEndpoint.")


@pytest.mark.parametrize(
    "production",
    [
        (a_variant(), a_variant("Other")),
        (a_variant("Other"),),
        (a_variant(model_name="another"),),
    ],
    ids=["two variants", "another name", "another model"],
)
@pytest.mark.parametrize("status", ["Creating", "Starting"])
def test_an_endpoint_that_is_another_by_now_takes_no_test(status, production):
    endpoint = view(a_spec(*production))
    (action,) = plan(an_experiment(status=status), endpoint)
    assert action.status == "Cancelled"
    assert "by now" in action.reason
    assert "Create the test again" in action.reason


def test_an_update_is_over_when_the_endpoint_has_settled():
    experiment = an_experiment(status="Updating", plan=a_plan(resume_status="Running"))
    assert plan(experiment, view(TEST, "Updating")) == []
    assert plan(experiment, view(TEST)) == [SetStatus("Running")]


@pytest.mark.parametrize("endpoint", [None, view(status="Failed"), view(status="Updating")])
def test_an_update_of_a_scheduled_test_asks_nothing_of_the_endpoint(endpoint):
    experiment = an_experiment(status="Updating", plan=a_plan(resume_status="Created"))
    assert plan(experiment, endpoint) == [SetStatus("Created")]


def test_nothing_is_left_to_do_for_a_test_that_runs():
    assert plan(msgspec.structs.replace(started(), status="Running"), view(TEST)) == []
