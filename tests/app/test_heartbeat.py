import os

import pytest

from gnomon.app.heartbeat import SILENCE_LIMIT_S, START_LIMIT_S, Heartbeat


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    heartbeat = Heartbeat(reading, 0.0)
    yield heartbeat, writing
    heartbeat.close()
    os.close(writing)


def silent_after_s(heartbeat, from_s):
    """When it is given up, looked at each second."""
    now_s = from_s
    while not heartbeat.is_silent(now_s):
        now_s += 1.0
    return now_s


def test_one_that_beats_is_never_silent(pipe):
    heartbeat, writing = pipe
    for second in range(100):
        os.write(writing, b".")
        assert not heartbeat.is_silent(float(second))


def test_one_that_stops_beating_is_given_up_after_the_limit(pipe):
    heartbeat, writing = pipe
    os.write(writing, b".")
    assert not heartbeat.is_silent(1.0)
    assert silent_after_s(heartbeat, 2.0) == 1.0 + SILENCE_LIMIT_S + 1.0


def test_one_that_comes_up_has_longer_for_its_first_beat(pipe):
    heartbeat, _ = pipe
    assert silent_after_s(heartbeat, 1.0) == START_LIMIT_S + 1.0


def test_a_supervisor_that_slept_has_heard_nothing_of_anybody(pipe):
    heartbeat, writing = pipe
    os.write(writing, b".")
    assert not heartbeat.is_silent(1.0)
    assert not heartbeat.is_silent(3600.0)
    os.write(writing, b".")
    assert not heartbeat.is_silent(3601.0)
