"""The data plane's decisions, without sockets, clocks or chance of their own.

What carries them out: `plane` (which variant and instance), `mirror` (whether to copy) and
`ejection`. Random draws are in [0, 1) and handed in, so that a test can choose them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, Protocol, TypeVar

from gnomon.model.metric import DropReason
from gnomon.settings import RouterSettings

# Why there is no answer. `not_connected`: this side could not even try, for instance without a
# descriptor left. `cut`: the answer was too long to be held.
Failure = Literal[
    "refused", "not_connected", "connect_deadline", "reset", "malformed", "deadline", "cut"
]

# Before any byte was sent a request can go to another instance without being made twice.
UNSENT: frozenset[Failure] = frozenset({"refused", "not_connected", "connect_deadline"})
# At the second in a row of these an instance is ejected: one slow request is no sick instance.
_TIME_LIMITS: frozenset[Failure] = frozenset({"connect_deadline", "deadline"})
_TIME_LIMITS_IN_A_ROW = 2
# The router's own doing: nothing is known of the instance.
_OURS: frozenset[Failure] = frozenset({"not_connected", "cut"})


class Candidate(Protocol):
    """What the choice of an instance looks at."""

    @property
    def outstanding(self) -> int:
        """Requests in flight on it, as this router counts them."""


SomeCandidate = TypeVar("SomeCandidate", bound=Candidate)


def cumulative_shares(weights: Sequence[float]) -> tuple[float, ...]:
    """The upper bound of each weight's part of [0, 1]; empty if no weight is positive."""
    total = sum(weights)
    if total <= 0:
        return ()
    return tuple(bound / total for bound in accumulate(weights))


def pick_by_share(cumulative: Sequence[float], draw: float) -> int:
    """The index whose part of [0, 1] the draw falls in; never one whose weight is 0."""
    # The last sum may fall short of 1 by a rounding error; trailing zero weights end there too.
    return bisect_right(cumulative, min(draw, cumulative[-1] * (1 - 2**-53)))


def pick_least_outstanding(candidates: Sequence[SomeCandidate], draw: float) -> SomeCandidate:
    """One with the fewest requests in flight; among equals the draw decides where to look first."""
    count = len(candidates)
    start = int(draw * count)
    best = candidates[start]
    fewest = best.outstanding
    for index in range(start + 1 - count, start):
        if not fewest:
            break
        candidate = candidates[index]
        if candidate.outstanding < fewest:
            best = candidate
            fewest = candidate.outstanding
    return best


def pick_random(candidates: Sequence[SomeCandidate], draw: float) -> SomeCandidate:
    return candidates[int(draw * len(candidates))]


def mirror_obstacle(
    limits: RouterSettings,
    *,
    last_connect: Failure | None,
    is_out_of_connections: bool,
    is_reading_held: bool,
    body_bytes: int,
    endpoint_in_flight: int,
    endpoint_bytes: int,
    router_bytes: int,
) -> DropReason | None:
    """Why a sampled request is not copied to an instance that is there; None if it is.

    `last_connect` is why it failed, if it did so a moment ago. In flight are the endpoint's copies;
    the byte counts are bodies that copies hold already.
    """
    if last_connect is not None:
        return "not_connected" if last_connect == "not_connected" else "refused"
    if body_bytes > limits.mirror_endpoint_bytes or body_bytes > limits.mirror_router_bytes:
        return "too_large"
    if (
        is_out_of_connections
        or endpoint_in_flight >= limits.mirror_max_in_flight
        or endpoint_bytes + body_bytes > limits.mirror_endpoint_bytes
        or router_bytes + body_bytes > limits.mirror_router_bytes
    ):
        return "over_budget"
    # An answer that waits for our own limit would look like a slow shadow.
    if is_reading_held:
        return "read_budget"
    return None


def is_ejectable(failure: Failure, *, time_limits_in_a_row: int, healthy_instances: int) -> bool:
    """Whether an instance goes out of use after this failure; `healthy_instances` includes it."""
    if failure == "refused":
        return True
    if healthy_instances <= 1 or failure in _OURS:
        return False
    if failure in _TIME_LIMITS:
        return time_limits_in_a_row >= _TIME_LIMITS_IN_A_ROW
    return True


def counts_as_time_limit(failure: Failure) -> bool:
    return failure in _TIME_LIMITS
