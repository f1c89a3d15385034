"""How a report's figures read: units, factors and intervals as text, and texts of models made safe.

Pure. What has no number says so; nothing is rounded to a number that it is not.
"""

from __future__ import annotations

from typing import Any

# Characters of a path or label; what is longer is cut, or a table has room for nothing else.
_MOST_CHARACTERS = 120
NOTHING = "-"
# What a difference of shares is counted in.
_POINTS = " points"


class Foreign(str):
    """A text that came from a model or a client: shown as it is, and never as markup."""

    __slots__ = ()


def foreign(text: str) -> Foreign:
    """Such a text with what cannot be printed written out, so that no terminal obeys it."""
    seen = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    if len(seen) > _MOST_CHARACTERS:
        seen = seen[: _MOST_CHARACTERS - 1] + "…"
    return Foreign(seen or '""')


def value(figure: float | None, unit: str) -> str:
    """A figure of one variant: ms, a share as per cent, or a value of the model's own."""
    if figure is None:
        return NOTHING
    if unit == "ms":
        return milliseconds(figure)
    if unit == "bytes":
        return f"{figure:,.0f} bytes"
    return percent(figure) if unit == "share" else predicted(figure)


def change(figure: float | None, measure: dict[str, Any]) -> str:
    """How the shadow's figure changes from production's, or the limit that it is held to."""
    if figure is None:
        return NOTHING
    if measure["compared_by"] == "factor":
        return f"× {figure:.3f}"
    if measure["name"] == "agreement":
        return percent(figure)
    if measure["unit"] == "share":
        return f"{100 * figure:+.3g}{_POINTS}"
    return f"{'+' if figure > 0 else ''}{predicted(figure)}"


def interval(measure: dict[str, Any]) -> str:
    """Both bounds, or why there is none."""
    found = measure["interval"]
    if found["type"] == "inconclusive":
        return f"inconclusive: {found['reason']}"
    low, high = (
        "no bound" if bound is None else change(bound, measure)
        for bound in (found["low"], found["high"])
    )
    if high.endswith(_POINTS):
        low = low.removesuffix(_POINTS)
    return f"{low} to {high}"


def milliseconds(figure: float) -> str:
    if figure >= 10_000:
        return f"{significant(figure / 1000)} s"
    return f"{significant(figure)} ms"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %" if abs(share) < 0.1 else f"{100 * share:.2f} %"


def significant(figure: float) -> str:
    """Three digits, and all of those before the point."""
    if 100 <= abs(figure) < 1e9:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def predicted(figure: float) -> str:
    """A number of a model's own: five digits, since differences are small beside it."""
    return f"{figure:,.0f}" if 1e5 <= abs(figure) < 1e12 else f"{figure:.5g}"


def duration(seconds: float) -> str:
    for name, length_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.3g} {name}"
    return f"{seconds:.3g} seconds"
