"""When what failed is tried again, and what is said of it."""

import structlog

from gnomon.collector.rests import Rests
from gnomon.errors import GnomonError


def test_what_fails_rests_longer_each_time_and_is_told_once():
    now = [0.0]
    rests = Rests("capture_id", lambda: now[0])
    tried = []
    with structlog.testing.capture_logs() as logs:
        for now[0] in (0.0, 0.4, 0.6, 1.5, 1.7, 3.0, 4.0):
            rests.begin_round()
            if rests.is_due("c1"):
                tried.append(now[0])
                rests.failed("c1", GnomonError("It is away."))
        assert rests.is_due("another")
        assert not rests.are_none
        rests.worked("c1")
        rests.begin_round()
    assert tried == [0.0, 0.6, 1.7, 4.0]
    assert rests.are_none
    assert rests.is_due("c1")
    assert [(entry["event"], entry["capture_id"]) for entry in logs] == [
        ("collecting_failed", "c1"),
        ("collecting_goes_on", "c1"),
    ]


def test_another_reason_is_told_too_and_what_nobody_expected_in_full():
    rests = Rests("incarnation_id", lambda: 0.0)
    with structlog.testing.capture_logs() as logs:
        for error in (GnomonError("One."), GnomonError("Another."), ZeroDivisionError()):
            rests.failed("i1", error)
    assert [entry.get("reason") for entry in logs] == ["One.", "Another.", None]
    assert (logs[2]["retry_in_s"], type(logs[2]["exc_info"])) == (2.0, ZeroDivisionError)


def test_what_failed_for_days_is_still_tried_and_all_at_once_where_that_is_asked():
    now = [0.0]
    rests = Rests("incarnation_id", lambda: now[0])
    with structlog.testing.capture_logs():
        for _ in range(5000):
            rests.failed("i1", GnomonError("It is away."))
    now[0] = 29.9
    rests.begin_round()
    assert not rests.is_due("i1")
    rests.end()
    assert rests.is_due("i1")
    assert not rests.are_none


def test_in_a_round_what_failed_before_is_tried_until_something_fails():
    now = [0.0]
    rests = Rests("capture_id", lambda: now[0])
    tried = []

    def round_of(*names):
        rests.begin_round()
        for name in names:
            if rests.is_due(name):
                tried.append(name)
                rests.failed(name, GnomonError("It is away."))

    with structlog.testing.capture_logs():
        round_of("c1", "c2")
        now[0] = 100.0
        round_of("c1", "c2", "new")
        assert tried == ["c1", "c2", "c1", "new"]
        round_of("c1", "c2")
        rests.begin_round()
        rests.worked("c2")
        assert tried[4:] == ["c2"]
