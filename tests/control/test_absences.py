from gnomon.control.absences import Absence, absences
from gnomon.model.records import EventRecord


def event(steady_s, instance, before, after, variant="v", kind="instance", reason="exited"):
    return EventRecord(
        id=f"{steady_s}",
        at_s=steady_s + 1000,
        steady_s=steady_s,
        kind=kind,
        object_id=instance,
        name=f"ep/{variant}",
        before=before,
        after=after,
        reason=reason,
    )


def away(*events, from_s=0.0, to_s=100.0):
    return absences(events, from_s, to_s)


def test_an_instance_is_away_until_another_is_in_service_in_its_place():
    assert away(
        event(10.0, "a", "InService", "Failed"),
        event(11.0, "b", "", "Pending"),
        event(14.5, "b", "Starting", "InService"),
    ) == [Absence("a", "v", 1010.0, 4.5, "exited")]


def test_the_one_that_went_first_is_replaced_first():
    found = away(
        event(10.0, "a", "InService", "Failing"),
        event(12.0, "b", "InService", "Failed"),
        event(13.0, "c", "Starting", "InService"),
        event(17.0, "d", "Starting", "InService"),
    )
    assert [(absence.instance_id, absence.away_s) for absence in found] == [("a", 3.0), ("b", 5.0)]


def test_another_variants_instance_takes_nobodys_place():
    (absence,) = away(
        event(10.0, "a", "InService", "Failed"),
        event(13.0, "b", "Starting", "InService", variant="w"),
    )
    assert absence.away_s is None


def test_what_was_not_wanted_any_more_is_not_missed():
    assert (
        away(
            event(10.0, "a", "InService", "Draining"),
            event(11.0, "a", "Draining", "Stopping"),
            event(12.0, "a", "Stopping", "Stopped"),
        )
        == []
    )


def test_one_that_was_gone_when_control_came_back_is_missed():
    (absence,) = away(event(10.0, "a", "InService", "Stopped"))
    assert absence.instance_id == "a"


def test_what_never_served_is_not_missed():
    assert away(event(10.0, "a", "Starting", "Failed")) == []


def test_only_the_tests_own_time_counts_but_a_return_after_it_ends_an_absence():
    found = away(
        event(5.0, "a", "InService", "Failed"),
        event(6.0, "b", "Starting", "InService"),
        event(20.0, "b", "InService", "Failed"),
        event(31.0, "c", "Starting", "InService"),
        event(40.0, "c", "InService", "Failed"),
        from_s=10.0,
        to_s=30.0,
    )
    assert [(absence.instance_id, absence.away_s) for absence in found] == [("b", 11.0)]


def test_transitions_of_other_things_are_passed_over():
    assert away(event(10.0, "ep", "InService", "Failed", kind="endpoint")) == []
