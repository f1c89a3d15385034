"""Takes instances out of use that do not answer as HTTP servers do, and back when they do.

What is reason enough is decided in `decide.is_ejectable`; control's own pings, which restart an
instance, are another matter. An ejected instance is pinged on connections of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gnomon.model import metric
from gnomon.model.clock import Clock
from gnomon.model.request_head import header_lines
from gnomon.router.call import Call, UpstreamAnswer
from gnomon.router.counters import Cell
from gnomon.router.decide import Failure, counts_as_time_limit, is_ejectable
from gnomon.router.instance import LiveInstance
from gnomon.router.pool import Pool

log = structlog.get_logger(__name__)


class Ejections:
    """The ejected instances, each with the pool that its pings go through."""

    def __init__(self, make_pool: Callable[[LiveInstance], Pool], clock: Clock) -> None:
        self._make_pool = make_pool
        self._clock = clock
        self._pools: dict[LiveInstance, Pool] = {}
        # Where an ejection was counted its seconds are, too.
        self._cells: dict[LiveInstance, Cell] = {}
        self._pinged: set[LiveInstance] = set()

    def failed(self, instance: LiveInstance, failure: Failure, cell: Cell) -> None:
        """A call to the instance failed; `cell` counts the ejection, if it comes to that."""
        if counts_as_time_limit(failure):
            instance.time_limits_in_a_row += 1
        if instance.is_ejected or instance.is_gone:
            return
        if is_ejectable(
            failure,
            time_limits_in_a_row=instance.time_limits_in_a_row,
            healthy_instances=len(instance.variant.healthy),
        ):
            instance.is_ejected = True
            instance.variant.see_health()
            self._pools[instance] = self._make_pool(instance)
            self._cells[instance] = cell
            cell.add(metric.EJECTIONS)
            log.warning("instance ejected", instance=instance.id, reason=failure)

    def ping(self) -> None:
        """To be called each second: one ping to each ejected instance that has none open."""
        for instance, pool in list(self._pools.items()):
            if instance.is_gone:
                self._forget(instance)
                continue
            self._cells[instance].add(metric.EJECTED_S)
            if instance not in self._pinged:
                self._pinged.add(instance)
                pool.submit(_Ping(self, instance, self._clock.monotonic_s()))

    def sweep(self, now_s: float) -> None:
        for pool in list(self._pools.values()):
            pool.sweep(now_s)

    def pinged(self, instance: LiveInstance, *, is_good: bool) -> None:
        """The answer to a ping, or that there was none."""
        self._pinged.discard(instance)
        if is_good and instance in self._pools:
            instance.is_ejected = False
            instance.time_limits_in_a_row = 0
            instance.variant.see_health()
            self._forget(instance)
            log.info("instance back in use", instance=instance.id)

    def _forget(self, instance: LiveInstance) -> None:
        del self._cells[instance]
        self._pools.pop(instance).retire()


class _Ping(Call):
    __slots__ = ("_ejections", "_instance")

    def __init__(self, ejections: Ejections, instance: LiveInstance, submitted_s: float) -> None:
        spec = instance.spec
        head = b"GET %b HTTP/1.1\r\n%b\r\n" % (
            spec.ping_path.encode(),
            header_lines(spec.host, spec.port, spec.headers),
        )
        super().__init__(head, b"", submitted_s)
        self._ejections = ejections
        self._instance = instance

    def answered(self, answer: UpstreamAnswer, _at_s: float, /) -> None:
        self._ejections.pinged(self._instance, is_good=answer.status == 200)

    def failed(self, _failure: Failure, _at_s: float, /) -> None:
        self._ejections.pinged(self._instance, is_good=False)
