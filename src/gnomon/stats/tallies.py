"""Counts of what pairs have in common, bounded, and the same whatever the order of merges.

What does not fit is never dropped by its turn, or the order would tell: paths become shorter for
all at once, and sets that are too many are given up as a whole. Each is decided by what was seen
altogether, and stays decided.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

import msgspec

# Different paths kept; with more, all are cut to fewer parts.
MOST_PATHS = 500
# Different combinations of paths kept; with more, none is.
MOST_SETS = 200
_MOST_EXAMPLES = 3
_MOST_WORST = 20
# Deeper than any path that is worth telling apart.
_DEEPEST = 12
_SEPARATOR = "\n"


class Counted(msgspec.Struct, array_like=True):
    """How many times, and the event ids of some: the first in the order of their ids."""

    times: int = 0
    examples: list[str] = []

    def add(self, event_id: str) -> None:
        self.times += 1
        examples = self.examples
        if len(examples) < _MOST_EXAMPLES or event_id < examples[-1]:
            self._keep(event_id)

    def merge(self, other: Counted) -> None:
        self.times += other.times
        for event_id in other.examples:
            self._keep(event_id)

    def _keep(self, event_id: str) -> None:
        if event_id not in self.examples:
            insort(self.examples, event_id)
            del self.examples[_MOST_EXAMPLES:]


class Tally(msgspec.Struct):
    """Pairs that differ, by path and by combination of paths.

    Paths are cut to `depth` parts: the most with which there are no more than MOST_PATHS; a cut
    path counts each of those that it stands for. `sets` has pairs by combination of whole paths,
    and is None once there were more than MOST_SETS.
    """

    depth: int = _DEEPEST
    paths: dict[str, Counted] = {}
    sets: dict[str, int] | None = msgspec.field(default_factory=dict)

    def add(self, paths: Iterable[str], event_id: str) -> None:
        """Count one pair that differs at these paths, each of them once."""
        whole = sorted(set(paths))
        for path in whole:
            cut = _cut(path, self.depth)
            counted = self.paths.get(cut)
            if counted is None:
                counted = self.paths[cut] = Counted()
            counted.add(event_id)
        if self.sets is not None:
            key = _SEPARATOR.join(whole)
            self.sets[key] = self.sets.get(key, 0) + 1
        self._bound()

    def merge(self, other: Tally) -> None:
        """Add another tally; it is left alone."""
        self._cut_to(min(self.depth, other.depth))
        for path, counted in other.paths.items():
            self.paths.setdefault(_cut(path, self.depth), Counted()).merge(counted)
        if self.sets is not None and other.sets is not None:
            for key, pairs in other.sets.items():
                self.sets[key] = self.sets.get(key, 0) + pairs
        else:
            self.sets = None
        self._bound()

    @property
    def is_cut(self) -> bool:
        """Whether there were more paths than are kept apart."""
        return self.depth < _DEEPEST

    def pairs_outside(self, ignored: Iterable[str]) -> int | None:
        """Pairs that differ at any path but these; None where combinations are not known."""
        if self.sets is None:
            return None
        without = frozenset(ignored)
        return sum(
            pairs for key, pairs in self.sets.items() if not without.issuperset(_parts_of(key))
        )

    def _bound(self) -> None:
        while len(self.paths) > MOST_PATHS and self.depth > 0:
            self._cut_to(self.depth - 1)
        if self.sets is not None and len(self.sets) > MOST_SETS:
            self.sets = None

    def _cut_to(self, depth: int) -> None:
        if depth >= self.depth:
            return
        self.depth = depth
        whole, self.paths = self.paths, {}
        for path, counted in whole.items():
            self.paths.setdefault(_cut(path, depth), Counted()).merge(counted)


class Worst(msgspec.Struct):
    """The pairs with the highest scores, by event id; of equal ones the first ids."""

    # (score, event id), highest first.
    pairs: list[tuple[float, str]] = []

    def add(self, score: float, event_id: str) -> None:
        pairs = self.pairs
        if len(pairs) < _MOST_WORST or score >= pairs[-1][0]:
            insort(pairs, (score, event_id), key=_rank)
            del pairs[_MOST_WORST:]

    def merge(self, other: Worst) -> None:
        for score, event_id in other.pairs:
            self.add(score, event_id)


def _rank(pair: tuple[float, str]) -> tuple[float, str]:
    return -pair[0], pair[1]


def _parts_of(key: str) -> list[str]:
    return key.split(_SEPARATOR)


def _cut(path: str, depth: int) -> str:
    """The first parts of a JSON pointer; anything else has one part."""
    if not path.startswith("/"):
        return path if depth > 0 else "(anything)"
    parts = path.split("/")
    if len(parts) <= depth + 1:
        return path
    return "/".join(parts[: depth + 1]) + "/…" if depth > 0 else "(anything)"
