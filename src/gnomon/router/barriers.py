"""Writes each barrier once all that this router has to say of an experiment stands before it.

Control puts a barrier's id into the entry that no longer has the experiment; the collector tells
control when it has read the frame.
"""

from __future__ import annotations

from gnomon.model.clock import Clock
from gnomon.router.counters import Counters, Spool
from gnomon.router.routes import Entry, LiveEndpoint
from gnomon.spool.frames import Barrier


class Barriers:
    """The barriers that wait, each with the former entries that still have exchanges open."""

    def __init__(self, spool: Spool, counters: Counters, clock: Clock) -> None:
        self._spool = spool
        self._counters = counters
        self._clock = clock
        # By endpoint, what was expected before: an id stays in the entry long after its frame.
        self._seen: dict[str, set[str]] = {}
        self._waiting: dict[str, tuple[Entry, ...]] = {}

    def expect(self, endpoint: LiveEndpoint) -> None:
        """The endpoint has a new entry: take up the barriers in it that are new."""
        ids = set(endpoint.spec.barriers)
        fresh = ids - self._seen.get(endpoint.id, set())
        if ids:
            self._seen[endpoint.id] = ids
        else:
            self._seen.pop(endpoint.id, None)
        if not fresh:
            return
        experiment = endpoint.spec.experiment
        running = experiment.id if experiment else ""
        blockers = tuple(
            former
            for former in endpoint.former
            if former.experiment_id and former.experiment_id != running
        )
        for former in blockers:
            former.on_drained = self.check
        for barrier_id in sorted(fresh):
            self._waiting[barrier_id] = blockers
        self.check()

    def forget(self, endpoint_id: str) -> None:
        """The endpoint is gone; barriers of it that wait still come."""
        self._seen.pop(endpoint_id, None)

    def check(self) -> None:
        """Write the barriers that wait for nothing any more; what the spool refuses waits on."""
        ready = [
            barrier_id
            for barrier_id, blockers in self._waiting.items()
            if not any(former.open for former in blockers)
        ]
        now_s = self._clock.now_s()
        if not ready or not self._counters.flush(now_s):
            return
        for barrier_id in ready:
            if self._spool.append(Barrier(barrier_id, now_s)):
                del self._waiting[barrier_id]
