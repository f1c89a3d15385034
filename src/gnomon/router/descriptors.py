"""The router's file descriptors: as many as it may have, and what shadows may take of them.

Every connection is one. A shadow that hangs holds as many as there are copies in flight; without a
bound of their own production would find none left. Used by `pool`, on the word of `mirror`.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(slots=True)
class ConnectionBudget:
    """How many connections several pools have open together; they keep `open` current."""

    most: int
    open: int = 0

    @property
    def is_spent(self) -> bool:
        return self.open >= self.most


def limit() -> int:
    """How many descriptors the process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else max(hard, 1 << 20)


def raise_limit() -> None:
    """Take all that the process may have; the customary soft limit is for programs with select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
