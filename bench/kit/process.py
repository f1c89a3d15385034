"""Processes that a bench starts: each on its cores, and ended by its own id on every way out.

A bench that is killed takes them with it too: the kernel signals them then (prctl's
PR_SET_PDEATHSIG, by `setpriv`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.kit.report import CannotMeasure

_END_TIME_LIMIT_S = 10.0
_START_TIME_LIMIT_S = 20.0
_LOOK_S = 0.02
# How much of a log is shown when a process does not start (characters).
_SHOWN_LOG = 1500
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def on_cores(cores: frozenset[int], command: Sequence[str]) -> list[str]:
    """The command, held to these cores. Both prefixes exec, so that the process id is its own."""
    listed = ",".join(map(str, sorted(cores)))
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", listed, *command]


@contextlib.contextmanager
def running(
    command: Sequence[str],
    cores: frozenset[int],
    log: Path,
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, until the block ends. What it says goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            on_cores(cores, command),
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    process: subprocess.Popen[bytes], log: Path, name: str, answers: Callable[[], bool]
) -> None:
    """Until the process answers. Raises CannotMeasure with the end of its log if it does not."""
    until_s = time.monotonic() + _START_TIME_LIMIT_S
    while not answers():
        if process.poll() is not None or time.monotonic() > until_s:
            said = log.read_text(errors="replace")[-_SHOWN_LOG:]
            raise CannotMeasure(f"{name} did not start; its log ends with:\n{said}")
        time.sleep(_LOOK_S)


def cpu_s(pid: int) -> float:
    """CPU time of a live process, user and system, all threads."""
    return sum(cpu_split_s(pid))


def cpu_split_s(pid: int) -> tuple[float, float]:
    """CPU time of a live process, all threads: user, system (proc(5), stat, fields 14, 15)."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S


def output_of(command: Sequence[str], cores: frozenset[int], time_limit_s: float) -> str:
    """What a command that ends by itself writes to its standard output."""
    try:
        done = subprocess.run(
            on_cores(cores, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_limit_s,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotMeasure(f"{command[0]} had not ended after {time_limit_s:.0f} s.") from error
    if done.returncode:
        said = (done.stdout + done.stderr)[-_SHOWN_LOG:]
        raise CannotMeasure(f"{command[0]} failed ({done.returncode}):\n{said}")
    return done.stdout
