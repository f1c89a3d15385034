"""What a supervisor that was killed has left, and that only that is ended."""

import signal
import subprocess
import sys
from contextlib import ExitStack

import msgspec
import pytest

from gnomon.cli import former
from gnomon.cli.running import Process
from gnomon.hosting import session

IGNORING = "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"


@pytest.fixture
def start():
    """Starts a program and says who it is."""
    with ExitStack() as stack:

        def started(name, *command):
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(end, program)
            found = session.stat(program.pid)
            return program, Process(name, found.pid, found.start_ticks, session.boot_id())

        yield started


def end(program):
    program.kill()
    program.communicate()


def test_a_router_is_asked_to_end(start, tmp_path):
    program, router = start("router 0", "sleep", "1000")
    former.record(tmp_path, [router])
    former.end(former.left(tmp_path), 60.0)
    assert program.poll() == -signal.SIGTERM
    assert former.left(tmp_path) == []


def test_a_router_that_does_not_end_in_time_is_killed(start, tmp_path):
    program, router = start("router 0", sys.executable, "-c", IGNORING)
    program.stdout.readline()
    former.record(tmp_path, [router])
    former.end(former.left(tmp_path), 0.0)
    assert program.poll() == -signal.SIGKILL


def test_control_ends_by_itself_and_is_not_asked(start, tmp_path):
    # At a SIGTERM it would stop the instances, which the next control adopts.
    program, control = start("control", "sleep", "0.2")
    former.record(tmp_path, [control])
    former.end(former.left(tmp_path), 60.0)
    assert program.poll() == 0


@pytest.mark.parametrize("difference", [{"start_ticks": 1}, {"boot_id": "another"}])
def test_a_stranger_with_a_recorded_pid_is_let_live(start, tmp_path, difference):
    program, process = start("router 0", "sleep", "1000")
    former.record(tmp_path, [msgspec.structs.replace(process, **difference)])
    assert former.left(tmp_path) == []
    former.end(former.left(tmp_path), 0.0)
    assert program.poll() is None


def test_without_a_record_nothing_is_left(tmp_path):
    assert former.left(tmp_path) == []
    (tmp_path / "processes.json").write_text("damaged")
    assert former.left(tmp_path) == []
    former.forget(tmp_path)
    former.forget(tmp_path)
