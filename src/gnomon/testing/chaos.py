"""Kills what Gnomon consists of, one after another, and measures how long each takes to be whole.

A kill is a bracket of monotonic times: before the signal was sent, and after the process was seen
dead. Whatever a test says of "the moment of the kill" it says of that bracket.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from gnomon.testing.processes import RunningGnomon

CONTROL, ROUTER, COLLECTOR = "control", "router", "collector"
PRODUCTION, SHADOW = "production instance", "shadow instance"
KINDS = (CONTROL, ROUTER, COLLECTOR, PRODUCTION, SHADOW)

_LOOK_S = 0.02
_AGE_S = 0.1
# Instances wait up to 30 s for their turn when they keep failing.
_PATIENCE_S = 90.0


@dataclass
class Kill:
    """One kill; `at_s` is epoch seconds, `whole_s` how long until all was well again (s)."""

    kind: str
    from_s: float
    to_s: float
    at_s: float
    whole_s: float | None = None


class Chaos:
    """Kills on one endpoint of a running Gnomon.

    `counts` are the instances that each variant (by name) is to have.
    """

    def __init__(
        self, gnomon: RunningGnomon, endpoint: str, counts: dict[str, int], seed: int
    ) -> None:
        self._gnomon = gnomon
        self._endpoint = endpoint
        self._variants = dict(zip((PRODUCTION, SHADOW), counts, strict=True))
        self._counts = counts
        self._random = random.Random(seed)
        self._victims: set[str] = set()
        self._healing: dict[str, list[threading.Thread]] = {kind: [] for kind in KINDS}
        self._looking = threading.Lock()
        self._looks: dict[str, tuple[float, Any]] = {}
        self.kills: list[Kill] = []
        self.errors: list[Exception] = []

    def of(self, *kinds: str) -> list[Kill]:
        return [kill for kill in self.kills if kill.kind in kinds]

    def run(self, times: int) -> None:
        """Kills each kind so often, in an order and at moments that the seed decides.

        Kinds overlap; one of a kind waits until the one before has healed, an instance until
        another of its variant is healthy.
        """
        left = dict.fromkeys(KINDS, times)
        while any(left.values()) and not self.errors:
            kind = self._random.choice([kind for kind, count in left.items() if count])
            pause_s = self._random.uniform(0.2, 1.0)
            if not self._may(kind):
                # Its turn comes later: the others go on meanwhile.
                time.sleep(_LOOK_S)
                continue
            time.sleep(pause_s)
            if self.kill(kind):
                left[kind] -= 1
        self.heal()

    def heal(self) -> None:
        """Until all that was killed is whole again."""
        for thread in [thread for threads in self._healing.values() for thread in threads]:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def kill(self, kind: str) -> bool:
        """SIGKILL one of the kind; False if there is none that may be killed now."""
        found = self._victim(kind)
        if found is None:
            return False
        pid, healed = found
        kill = Kill(kind, time.monotonic(), 0.0, time.time())
        os.kill(pid, signal.SIGKILL)
        while _runs(pid):
            time.sleep(0.001)
        kill.to_s = time.monotonic()
        self.kills.append(kill)
        thread = threading.Thread(target=self._until, args=(kill, healed))
        self._healing[kind].append(thread)
        thread.start()
        return True

    def _may(self, kind: str) -> bool:
        if kind in self._variants:
            return len(self._healthy(self._variants[kind])) > 1
        return not any(thread.is_alive() for thread in self._healing[kind])

    def _victim(self, kind: str) -> tuple[int, Callable[[], bool]] | None:
        """Whom to kill, and what tells that all is well again."""
        if kind in self._variants:
            variant = self._variants[kind]
            healthy = self._healthy(variant)
            if len(healthy) < 2:
                return None
            victim = self._random.choice(healthy)
            self._victims.add(victim)
            return instance_pid(
                self._gnomon, victim
            ), lambda: len(self._healthy(variant)) == self._counts[variant]
        names = [name for name in pids(self._gnomon) if name.split()[0] == kind]
        name = self._random.choice(sorted(names))
        pid = pids(self._gnomon)[name]
        if not _runs(pid):
            return None
        if kind == COLLECTOR:
            counted = self._counted()
            return pid, lambda: self._is_new(name, pid) and self._counted() > counted
        if kind == ROUTER:
            return pid, lambda: self._is_new(name, pid) and self._knows_router(name)
        return pid, lambda: self._is_new(name, pid) and self._status() is not None

    def _until(self, kill: Kill, healed: Callable[[], bool]) -> None:
        try:
            self._gnomon.wait(healed, f"all well after the kill of a {kill.kind}", _PATIENCE_S)
            kill.whole_s = time.monotonic() - kill.from_s
        except (Exception, AssertionError) as error:  # noqa: BLE001 - raised again by `heal`
            self.errors.append(AssertionError(str(error)))

    def _is_new(self, name: str, former: int) -> bool:
        return pids(self._gnomon)[name] not in {former, 0}

    def _knows_router(self, name: str) -> bool:
        status = self._status() or {"routers": []}
        return pids(self._gnomon)[name] in {router["pid"] for router in status["routers"]}

    def _healthy(self, variant: str) -> list[str]:
        status = self._status() or {"instances": []}
        return sorted(
            i["id"]
            for i in status["instances"]
            if i["endpoint"] == self._endpoint
            and i["variant"] == variant
            and i["status"] == "InService"
            and i["id"] not in self._victims
        )

    def _status(self) -> Any:
        return self._look("/status")

    def _counted(self) -> int:
        found = self._look(f"/endpoints/{self._endpoint}/metrics") or {"variants": {}}
        return sum(int(variant["invocations"]) for variant in found["variants"].values())

    def _look(self, path: str) -> Any:
        """What is there, at most 0.1 s old: many wait, and the machine has other work to do.

        None while control or the router that was asked is away.
        """
        with self._looking:
            at_s, found = self._looks.get(path, (0.0, None))
            if time.monotonic() - at_s > _AGE_S:
                found = None
                with contextlib.suppress(OSError, ValueError):
                    found = self._gnomon.get(path)
                self._looks[path] = (time.monotonic(), found)
            return found


def pids(gnomon: RunningGnomon) -> dict[str, int]:
    """Pid by the name of each process that the supervisor keeps."""
    running = json.loads((gnomon.data_dir / "gnomon.json").read_text())
    return {process["name"]: process["pid"] for process in running["processes"]}


def instance_pid(gnomon: RunningGnomon, instance_id: str) -> int:
    """The leader of an instance, as its launcher wrote it."""
    lock = gnomon.data_dir / "instances" / instance_id / "lock"
    return int(json.loads(lock.read_text())["pid"])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process hangs while this lasts; it may be dead at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _runs(pid: int) -> bool:
    """Whether anything of the process is left that could hold its sockets open.

    The last of its threads closes them, and its first one may be a zombie before that.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False
