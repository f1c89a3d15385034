import fcntl
import os
import stat
from contextlib import contextmanager

import pytest

from gnomon.cli import running as running_file
from gnomon.cli.running import NotRunning, Process, Running, SeveralRunning
from gnomon.errors import DataDirectoryError
from gnomon.model.layout import Layout


@contextmanager
def a_gnomon_on(path, environ):
    """What a supervisor leaves while it runs."""
    path.mkdir()
    with Layout(path).supervisor_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = (Process("p", 2, 3, "b"),)
        running = Running("http://u", "http://c", 1, "r", "a", str(path), "v", 4.0, processes)
        running_file.write(running, environ)
        yield running


def test_the_one_that_runs_is_found_without_being_named(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_DATA_HOME": str(tmp_path)}
    with a_gnomon_on(tmp_path / "a", environ) as running:
        assert running_file.find(None, environ) == running


def test_several_that_run_are_named(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with a_gnomon_on(tmp_path / "a", environ), a_gnomon_on(tmp_path / "b", environ) as b:
        with pytest.raises(SeveralRunning, match="Several Gnomons run"):
            running_file.find(None, environ)
        assert running_file.find(tmp_path / "b", environ) == b
        assert running_file.find(None, {**environ, "GNOMON_DATA_DIR": str(tmp_path / "b")}) == b


def test_an_empty_variable_names_no_directory(tmp_path):
    environ = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "home"),
        "GNOMON_DATA_DIR": "",
    }
    with a_gnomon_on(tmp_path / "a", environ) as running:
        assert running_file.find(None, environ) == running
    assert running_file.chosen_data_dir(None, environ) == tmp_path / "home" / "gnomon"


def test_one_that_is_not_up_yet_is_said_to_be_starting(tmp_path):
    with a_gnomon_on(tmp_path / "a", {"XDG_STATE_HOME": str(tmp_path)}) as running:
        Layout(tmp_path / "a").running_file.unlink()
        with pytest.raises(NotRunning, match="just starting or ending"):
            running_file.find(tmp_path / "a", {})
        assert running.pid


def test_a_data_directory_is_made_for_its_owner_alone(tmp_path):
    with running_file.hold(Layout(tmp_path / "a" / "b")):
        assert stat.filemode((tmp_path / "a" / "b").stat().st_mode) == "drwx------"


def test_a_data_directory_is_held_once(tmp_path):
    layout = Layout(tmp_path / "a")
    with (
        running_file.hold(layout),
        pytest.raises(
            DataDirectoryError, match=rf"Another Gnomon \(process {os.getpid()}\) runs on the data"
        ),
        running_file.hold(layout),
    ):
        pass
    with running_file.hold(layout):
        pass


def test_one_that_was_killed_is_not_taken_for_running(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_DATA_HOME": str(tmp_path)}
    with a_gnomon_on(tmp_path / "a", environ):
        pass
    with pytest.raises(NotRunning, match=r"Start one with `gnomon up`"):
        running_file.find(None, environ)


def test_nothing_is_left_of_one_that_ended(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with a_gnomon_on(tmp_path / "a", environ):
        running_file.remove(tmp_path / "a", environ)
        assert running_file.read(tmp_path / "a") is None
