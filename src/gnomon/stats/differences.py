"""Collects where two answers differ: paths, and how far apart they are.

What is walked, and how, is `json_difference`'s and `csv_difference`'s; what is summed up over
pairs, `state`'s.
"""

from __future__ import annotations

from gnomon.model.analysis import ComparisonSettings

# The paths named of one pair; the rest are counted under `MORE_PATHS`, which nobody can ignore.
MOST_PATHS = 32
# Characters of a path: documents may be as deep, and keys as long, as the model likes.
_LONGEST_PATH = 300
MORE_PATHS = "(more paths)"
# What keys of several texts are joined with (`tallies`, `task_state`).
_SEPARATORS = str.maketrans("\n\x1f", "  ")


def joinable(text: str) -> str:
    """A text of anybody's as it can be joined with others, and written."""
    return text.translate(_SEPARATORS).encode(errors="replace").decode()


def cut(path: str) -> str:
    """A path that is no longer than paths may be."""
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…"


class Differences:
    """Paths at which two answers differ, each once, and the sum of their distances.

    A number's distance is relative and at most 1; anything else that differs is 1 apart.
    """

    __slots__ = ("_absolute", "_ignored", "_is_tolerant", "_relative", "distance", "paths")

    def __init__(self, settings: ComparisonSettings) -> None:
        self.paths: dict[str, None] = {}
        self.distance = 0.0
        self._absolute = settings.absolute_tolerance
        self._relative = settings.relative_tolerance
        self._is_tolerant = self._absolute > 0 or self._relative > 0
        self._ignored = [path.split("/") for path in settings.ignored_paths]

    def add(self, path: str, distance: float = 1.0) -> None:
        """Two answers differ at `path`, unless it is ignored."""
        if self._ignored and self._is_ignored(path):
            return
        self.distance += distance
        path = cut(path)
        if path not in self.paths:
            self.paths[path if len(self.paths) < MOST_PATHS else MORE_PATHS] = None

    def add_numbers(self, path: str, a: float, b: float) -> None:
        """Two numbers that are not equal: they differ unless they are within a tolerance."""
        if a != a and b != b:  # noqa: PLR0124 - NaN is the same as NaN
            return
        try:
            gap = abs(a - b)
            distance = gap / max(abs(a), abs(b))
        except OverflowError:  # an integer that no float holds
            self.add(path)
            return
        if distance != distance:  # noqa: PLR0124 - infinities make NaN
            self.add(path)
        elif not self._is_tolerant or not self._is_near(gap, distance):
            self.add(path, distance if distance < 1 else 1.0)

    def _is_near(self, gap: float, distance: float) -> bool:
        # A tolerance of 0 is none: two large integers may be one as floats.
        return (self._absolute > 0 and gap <= self._absolute) or (
            self._relative > 0 and distance <= self._relative
        )

    def _is_ignored(self, path: str) -> bool:
        parts = path.split("/")
        return any(
            len(ignored) <= len(parts)
            and all(want in ("*", part) for want, part in zip(ignored, parts, strict=False))
            for ignored in self._ignored
        )
