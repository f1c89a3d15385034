"""`gnomon logs` over a data directory, with a script in place of the API."""

import os

import pytest

from gnomon.cli.log_lines import LoggedInstance
from gnomon.cli.logs import Logs, follow, wait_unless_unread
from gnomon.model.layout import Layout


class Scene:
    """What the API would list, and what instances printed."""

    def __init__(self, root):
        self.layout = Layout(root)
        self.instances = {}
        self.output = b""
        self.is_up = True
        self.logs = Logs(self.layout, self.listed, self.write, lambda: 100.0)

    def write(self, line):
        self.output += line

    def listed(self):
        return list(self.instances.values()) if self.is_up else None

    def set(self, id_, status, reason="", ended_at_s=None):
        self.instances[id_] = LoggedInstance(id_, "v", status, reason, 1.0, ended_at_s)

    def say(self, id_, text):
        path = self.layout.instance_log(id_)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text)

    def follow(self, *steps):
        """Each step is what happens while the follower rests; after the last Gnomon is gone."""
        script = iter(steps)
        times = iter(range(1000))

        def rest(_):
            try:
                next(script)()
            except StopIteration:
                self.is_up = False

        self.logs.print_last(self.listed(), 10)
        follow(self.logs, rest, lambda: float(next(times)))
        return self.output.decode().splitlines()


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_the_last_lines_carry_their_instance(scene):
    scene.set("A", "InService")
    scene.say("A", b"one\ntwo\nthree\n")
    scene.logs.print_last(scene.listed(), 2)
    assert scene.output == b"v A | two\nv A | three\n"


def test_an_instance_that_could_not_even_begin_says_why(scene):
    scene.set("A", "Failed", "Failed to download model data", ended_at_s=99.0)
    scene.logs.print_last(scene.listed(), 10)
    assert scene.output == b"v A | -- Failed: Failed to download model data\n"


def test_following_shows_what_is_printed_and_who_comes_and_goes(scene):
    scene.set("A", "InService")
    scene.say("A", b"before\n")

    def printed():
        scene.say("A", b"after\n")

    def begun():
        scene.set("B", "Starting")
        scene.say("B", b"hello\n")

    def ended():
        scene.say("A", b"last words")
        scene.set("A", "Failed", "exited", ended_at_s=100.0)

    assert scene.follow(printed, begun, ended) == [
        "v A | before",
        "v A | after",
        "v B | hello",
        "v B | -- Starting",
        "v A | last words",
        "v A | -- Failed: exited",
    ]


def test_what_ended_before_is_not_told_again(scene):
    scene.set("A", "Failed", "exited", ended_at_s=1.0)
    scene.set("B", "Stopped", "no longer wanted", ended_at_s=99.0)
    assert scene.follow(lambda: None, lambda: None) == [
        "v A | -- Failed: exited",
        "v B | -- Stopped: no longer wanted",
    ]


def test_when_gnomon_has_gone_the_rest_is_shown_and_it_ends(scene):
    scene.set("A", "InService")
    assert scene.follow(lambda: scene.say("A", b"half a line")) == ["v A | half a line"]


def test_a_reader_that_has_gone_is_noticed_without_writing():
    reading, writing = os.pipe()
    try:
        wait_unless_unread(writing, 0.0)
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            wait_unless_unread(writing, 60.0)
    finally:
        os.close(writing)
