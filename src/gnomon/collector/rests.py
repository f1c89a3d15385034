"""What failed is tried again later, less and less often, and is told once.

A store that does not answer takes seconds to fail: in one round what failed before is tried again
only until something fails, so that all else has its turn in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from gnomon.errors import GnomonError, exhaustion

# How long (s) something rests after its first failure, doubled at each further one.
_FIRST_REST_S = 0.5
_LONGEST_REST_S = 30.0

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Rest:
    failures: int
    until_s: float
    # Why, as it was last said.
    reason: str


class Rests:
    """Of things of one kind, which logs have under `key`, those that failed last. `monotonic` gives
    seconds.
    """

    def __init__(self, key: str, monotonic: Callable[[], float]) -> None:
        self._key = key
        self._monotonic = monotonic
        self._resting: dict[str, _Rest] = {}
        self._has_failed = False

    def begin_round(self) -> None:
        self._has_failed = False

    @property
    def are_none(self) -> bool:
        return not self._resting

    def is_due(self, name: str) -> bool:
        rest = self._resting.get(name)
        return rest is None or (not self._has_failed and rest.until_s <= self._monotonic())

    def end(self) -> None:
        """None rests any longer."""
        self._resting = {name: replace(rest, until_s=0.0) for name, rest in self._resting.items()}

    def worked(self, name: str) -> None:
        if self._resting.pop(name, None) is not None:
            _LOG.info("collecting_goes_on", **{self._key: name})

    def failed(self, name: str, error: Exception) -> None:
        self._has_failed = True
        before = self._resting.get(name, _Rest(0, 0.0, ""))
        # Bounded: nights of failures would exceed what a float holds.
        rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(before.failures, 10))
        # What a store or the machine says is a sentence; it is said once, however long it lasts.
        is_known = isinstance(error, GnomonError) or exhaustion(error) is not None
        reason = str(exhaustion(error) or error) if is_known else ""
        self._resting[name] = _Rest(before.failures + 1, self._monotonic() + rest_s, reason)
        if not is_known:
            _LOG.error("collecting_failed", **{self._key: name}, retry_in_s=rest_s, exc_info=error)
        elif reason != before.reason:
            _LOG.error("collecting_failed", **{self._key: name}, reason=reason)
