import pytest

from gnomon.cli.events import event_lines


def an_event(kind="endpoint", name="ep", before="", after="Creating", reason=""):
    return {
        "at_s": 0.25,
        "kind": kind,
        "id": "I",
        "name": name,
        "before": before,
        "after": after,
        "reason": reason,
    }


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (an_event(), "endpoint  ep  Creating"),
        (an_event(before="Creating", after="Failed", reason="why"), "ep  Creating to Failed (why)"),
        (an_event(before="Deleting", after=""), "ep  Deleting to gone"),
        (an_event("instance", "ep/v", after="Pending"), "instance  ep/v I  Pending"),
    ],
)
def test_an_event_is_a_line(event, said):
    (line,) = event_lines([event])
    assert line.startswith("1970-01-01T00:00:00.250Z  ")
    assert line.endswith(said)


def test_that_there_is_none_is_said():
    assert list(event_lines([])) == ["Events: none"]
