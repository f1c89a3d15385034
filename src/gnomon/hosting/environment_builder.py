"""Builds one virtual environment, and never outlives the control that asked for it.

Run as a script (`python -I -S environment_builder.py HOME LIMIT_S LOCK DIRECTORY INTERPRETER
PIP_ARGUMENT…`) with the standard library alone. Its counterpart is `gnomon.hosting.interpreters`,
which holds the other end of its standard input: when that closes, control is gone, and what was
being built is given up. What is said on the way goes to standard output, control's log of the
environment. LOCK is the descriptor of the environment's lock, kept until nothing writes there.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time

# The file in an environment that says that it is whole: written last.
MARKER = "gnomon-ready"

EXIT_FAILED = 1
# Statuses of sysexits.h.
EXIT_GIVEN_UP = 75
EXIT_TIMED_OUT = 78

# How often control's presence is looked after, in seconds.
LOOK_S = 0.2

# Models that serve have the processor first.
NICENESS = 10


def main(arguments: list[str]) -> int:
    """Build the environment; the exit status says how it went."""
    home, limit_s, lock, directory, interpreter = arguments[:5]
    os.nice(NICENESS)
    deadline_s = time.monotonic() + float(limit_s)
    # What an earlier attempt has left: an environment cannot be moved, so it is built in its place.
    shutil.rmtree(home, ignore_errors=True)
    venv = (interpreter, "-I", "-m", "venv", "--without-pip", home)
    # Gnomon's own pip: that of another interpreter may be too old, or missing.
    pip = (sys.executable, "-I", "-m", "pip", "--python", home + "/bin/python", *arguments[5:])
    for name, command in (("venv", venv), ("pip", pip)):
        _say(name + " begins")
        status = _run(command, directory, int(lock), deadline_s)
        if status != 0:
            shutil.rmtree(home, ignore_errors=True)
            return status
    with open(home + "/" + MARKER, "wb"):  # noqa: PTH123 - pathlib is slow to import
        pass
    _say("done")
    return 0


def _run(command: tuple[str, ...], directory: str, lock: int, deadline_s: float) -> int:
    """Run the command: 0, or the exit status that says what came of it."""
    child = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, pass_fds=(lock,), process_group=0
    )
    while True:
        try:
            return EXIT_FAILED if child.wait(LOOK_S) else 0
        except subprocess.TimeoutExpired:
            pass
        # Nothing is ever written there: what can be read is its end.
        if select.select([sys.stdin.fileno()], [], [], 0)[0]:
            ended = EXIT_GIVEN_UP
        elif time.monotonic() >= deadline_s:
            ended = EXIT_TIMED_OUT
        else:
            continue
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return ended


def _say(what: str) -> None:
    print(  # noqa: T201 - standard output is its log
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "gnomon:", what, flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
