"""What instances use, of real processes."""

import contextlib
import shutil
import subprocess
import sys

import pytest

from gnomon.hosting import gpu, memory, usage
from gnomon.hosting.session import Leader, boot_id, stat
from gnomon.testing.fake_nvml import FakeDevice, FakeNvml, FakeProcess, FakeSample

MIB = 1024**2
# Waits until the test is over, with all that it has started.
SAY_AND_WAIT = "print('ready', flush=True); sys.stdin.read()"
BURN = "\nimport time\nwhile time.process_time() < 0.3: pass\n"
AFTER_EVERYTHING_US = 2**62


@pytest.fixture
def session():
    """Starts a script as a session's leader; it says when it is ready."""
    with contextlib.ExitStack() as stack:

        def start(script: str) -> Leader:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", script],
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


def test_cpu_time_is_that_of_all_processes_those_that_ended_included(session, tmp_path):
    leader = session(
        "import os, sys\n"
        "child = os.fork()\n"
        f"if child == 0:\n    exec({BURN!r})\n    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "reader, writer = os.pipe()\n"
        f"if os.fork() == 0:\n    exec({BURN!r})\n    os.write(writer, b'x')\n"
        "    sys.stdin.read()\n    os._exit(0)\n"
        "os.read(reader, 1)\n" + SAY_AND_WAIT
    )
    idle = session("import sys; " + SAY_AND_WAIT)

    found = usage.of({leader: tmp_path, idle: tmp_path}, None, 7.0)

    # What runs besides Gnomon's ticks is in it: a Python's start.
    assert 0.58 <= found[leader].cpu_s < 2.0
    assert found[idle].cpu_s < 0.3
    assert found[leader].at_s == 7.0


def test_memory_is_what_a_limit_would_count(session, tmp_path):
    leader = session(f"import sys; data = b'x' * {64 * MIB}; " + SAY_AND_WAIT)
    used = usage.of({leader: tmp_path}, None, 0.0)[leader].memory_bytes
    # A process that has just begun to wait may touch another page.
    assert used == pytest.approx(memory.over({leader: 1})[leader], abs=MIB)
    assert used > 64 * MIB


def test_disk_is_how_full_that_of_the_directory_is(session, tmp_path):
    leader = session("import sys; " + SAY_AND_WAIT)
    disk = shutil.disk_usage(tmp_path)
    percent = usage.of({leader: tmp_path}, None, 0.0)[leader].disk_percent
    assert percent == pytest.approx(100 * disk.used / (disk.used + disk.free), abs=1)


def test_what_has_ended_and_strangers_are_left_out(session, tmp_path):
    leader = session("import sys; " + SAY_AND_WAIT)
    ended = Leader(2**22 + 1, 1, boot_id(), "token")
    stranger = Leader(leader.pid, leader.start_ticks - 1, boot_id(), "token")
    assert usage.of({ended: tmp_path, stranger: tmp_path}, None, 0.0) == {}


def test_gpus_are_summed_over_devices_and_over_the_session_s_processes(session, tmp_path):
    leader = session("import sys; " + SAY_AND_WAIT)
    other = session("import sys; " + SAY_AND_WAIT)
    pid = leader.pid
    devices = [
        FakeDevice(
            1000,
            [FakeProcess(pid, 250), FakeProcess(other.pid, None)],
            [FakeSample(pid, AFTER_EVERYTHING_US, 30), FakeSample(pid, AFTER_EVERYTHING_US, 50)],
        ),
        FakeDevice(2000, [FakeProcess(pid, 1000)], [FakeSample(pid, AFTER_EVERYTHING_US, 90)]),
    ]
    gpus = gpu.of(FakeNvml(devices))

    found = usage.of({leader: tmp_path, other: tmp_path}, gpus, 0.0)

    assert (found[leader].gpu.compute_percent, found[leader].gpu.memory_percent) == (130, 75)
    assert (found[other].gpu.compute_percent, found[other].gpu.memory_percent) == (0, 0)
    assert usage.of({leader: tmp_path}, None, 0.0)[leader].gpu is None


def test_a_gpu_s_samples_count_once():
    device = FakeDevice(1000, [], [FakeSample(5, AFTER_EVERYTHING_US, 40)])
    gpus = gpu.of(FakeNvml([device]))
    assert [use.compute_percent for use in gpus.by_process()[5]] == [40]
    assert 5 not in gpus.by_process()
    device.samples.append(FakeSample(5, AFTER_EVERYTHING_US + 1, 60))
    assert [use.compute_percent for use in gpus.by_process()[5]] == [60]


def test_without_a_driver_or_a_device_there_are_no_gpus():
    assert gpu.of(FakeNvml([FakeDevice(1)], has_driver=False)) is None
    assert gpu.of(FakeNvml()) is None
