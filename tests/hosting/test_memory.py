"""What counts as an instance's memory, of real processes."""

import contextlib
import os
import subprocess
import sys

import pytest

from gnomon.hosting.memory import over
from gnomon.hosting.session import Leader, boot_id, stat

MIB = 1024**2
# What a Python has before it has done anything, and more.
PYTHON_BYTES = 32 * MIB


@pytest.fixture
def session():
    """Starts a script as a session's leader; it says when it is ready."""
    with contextlib.ExitStack() as stack:

        def start(script: str, *args: str) -> Leader:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", script, *args],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout.readline() == b"ready\n"
            found = stat(process.pid)
            return Leader(process.pid, found.start_ticks, boot_id(), "token")

        yield start


# Waits until the test is over, with all that it has started.
SAY_AND_WAIT = "print('ready', flush=True); sys.stdin.read()"


def used(leader: Leader) -> int:
    return over({leader: 1})[leader]


def test_the_memory_of_all_its_processes_is_one_sum(session):
    leader = session(
        "import os, sys\n"
        "reader, writer = os.pipe()\n"
        "if os.fork() == 0:\n"
        f"    data = b'x' * {64 * MIB}\n"
        "    os.write(writer, b'x')\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "os.read(reader, 1)\n"
        f"data = b'x' * {64 * MIB}\n" + SAY_AND_WAIT
    )
    assert 128 * MIB < used(leader) < 128 * MIB + PYTHON_BYTES
    assert over({leader: 128 * MIB}) == {leader: used(leader)}
    assert over({leader: 256 * MIB}) == {}


def test_pages_that_its_processes_share_count_once(session):
    leader = session(
        f"import os, sys\ndata = b'x' * {64 * MIB}\n"
        "os.fork() and os.fork() and " + SAY_AND_WAIT.replace("; ", " or ") + "\n"
        "sys.stdin.read()\n"
    )
    assert 64 * MIB < used(leader) < 64 * MIB + PYTHON_BYTES


def test_files_that_are_only_mapped_are_not_its_memory(session, tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(64 * MIB))
    leader = session(
        "import mmap, sys\n"
        "with open(sys.argv[1]) as file:\n"
        "    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(mapped[::4096])\n" + SAY_AND_WAIT,
        str(weights),
    )
    assert stat(leader.pid).resident_bytes > 64 * MIB
    assert used(leader) < PYTHON_BYTES


def test_shared_memory_is(session):
    leader = session(
        "import mmap, sys\n"
        f"shared = mmap.mmap(-1, {64 * MIB})\n"
        f"shared.write(b'x' * {64 * MIB})\n" + SAY_AND_WAIT
    )
    assert 64 * MIB < used(leader) < 64 * MIB + PYTHON_BYTES


def test_a_stranger_with_the_pid_of_a_session_that_has_ended_is_not_meant(session):
    leader = session("import sys\n" + SAY_AND_WAIT)
    former = Leader(leader.pid, leader.start_ticks - 1, leader.boot_id, "token")
    assert over({former: 1}) == {}
    assert over({leader: 1}) != {}
