"""What becomes an instance: makes it findable, then turns into the model's program by exec.

Run as a script (`python -I -S launcher.py DIRECTORY TOKEN LOG WORK NICE COMMAND…`) with the
standard library alone (without pathlib, which is slow to import), so that it is quick and has
nothing of Gnomon's in it. Its counterpart is `gnomon.hosting.process`, which spawns it and reads
what it leaves in the instance's directory:

- `lock` is flocked from here on for as long as any process keeps the inherited descriptor, and
  holds this process's identity;
- `launch` says which launch is wanted. It is read under the lock: a launcher that comes late, for
  a launch that has been given up or replaced, ends here and never becomes an instance.
"""

import fcntl
import json
import os
import resource
import signal
import sys
import time

# Statuses of sysexits.h and of shells.
EXIT_LOCKED = 75
EXIT_GIVEN_UP = 78
EXIT_CANNOT_EXEC = 126
EXIT_NOT_FOUND = 127

# Whoever tries the lock to see whether it is free holds it for microseconds: try again, in all for
# this long.
LOCK_PATIENCE_S = 2.0
LOCK_PAUSE_S = 0.01

# The autogroup's nice value may be changed every 0.1 s.
AUTOGROUP_TRIES = 50
AUTOGROUP_PAUSE_S = 0.02

# Open files an instance may have: enough for its connections, and a number that programs which
# close every descriptor up to the limit can still count to.
MAX_OPEN_FILES = 65_536


def main(arguments: list[str]) -> int:
    """Become the command. Returns only if that was not possible, with the exit status."""
    directory, token, log, work, nice = arguments[:5]
    command = arguments[5:]
    os.setsid()
    _log_to(log)
    _be_nice(int(nice))
    lock = os.open(directory + "/lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _take(lock):
        _say("another process holds this instance's lock")
        return EXIT_LOCKED
    if _wanted_token(directory) != token:
        _say("this launch has been given up")
        return EXIT_GIVEN_UP
    _write_identity(lock, token)
    os.set_inheritable(lock, True)
    _set_limits()
    os.chdir(work)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what a launcher is for
    except FileNotFoundError:
        _say("there is no program " + command[0])
        return EXIT_NOT_FOUND
    except OSError as error:
        _say("cannot run " + command[0] + ": " + str(error.strerror))
        return EXIT_CANNOT_EXEC


def _take(lock: int) -> bool:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_PAUSE_S)
        else:
            return True


def _wanted_token(directory: str) -> object:
    try:
        with open(directory + "/launch", encoding="utf-8") as file:  # noqa: PTH123
            return json.load(file)["token"]
    except FileNotFoundError:
        return None


def _write_identity(lock: int, token: str) -> None:
    with open("/proc/self/stat", encoding="utf-8") as file:  # noqa: PTH123
        # The name in parentheses may hold anything; the start time is field 22 of proc(5).
        start_ticks = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123
        boot_id = file.read().strip()
    identity = {"pid": os.getpid(), "start_ticks": start_ticks, "boot_id": boot_id, "token": token}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(identity).encode(), 0)


def _log_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _be_nice(nice: int) -> None:
    """Take a lower CPU weight; what this process becomes and starts inherits it.

    Where the kernel groups by session (sched(7), autogroup), nice counts within the session alone,
    and the group has a nice value of its own. It may be set ten times a second without privileges.
    """
    if not nice:
        return
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    for _ in range(AUTOGROUP_TRIES):
        try:
            with open("/proc/self/autogroup", "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(str(nice))
        except BlockingIOError:
            time.sleep(AUTOGROUP_PAUSE_S)
        except OSError:
            # A kernel without autogroups: nice alone counts.
            return
        else:
            return
    _say("could not set the autogroup's nice value")


def _set_limits() -> None:
    # A core file would hold requests, and is large.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # exec keeps what is ignored or blocked: Python ignores these two, a model's program does not
    # expect it.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _say(what: str) -> None:
    print("gnomon launcher: " + what, file=sys.stderr, flush=True)  # noqa: T201 - stderr is its log


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
