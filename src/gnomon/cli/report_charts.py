"""The geometry of a report's charts, for inline SVG: where points lie, and which ticks an axis has.

Pure. How a chart looks is the template's matter; the figures are the report's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Units of the SVG's view box; the page scales it.
WIDTH, HEIGHT = 720.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 12.0, 30.0
# Steps of a latency's axis: fine enough for two humps, and wider than a bucket of the histogram.
_STEPS = 72
_MOST_BARS = 12
_TICKS_MS = tuple(m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5))


@dataclass(frozen=True)
class Tick:
    """A position along an axis, in the view box, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Ticks of both axes; paths by what they show; the heights of lines across."""

    x: list[Tick]
    y: list[Tick]
    paths: dict[str, str]
    lines: dict[str, float]


@dataclass(frozen=True)
class Bar:
    """A share of the whole width, at most 1."""

    label: str
    share: float
    noise_share: float | None
    is_noise: bool


def latencies(distributions: dict[str, list[list[int]]]) -> Chart | None:
    """Both variants' latencies on a logarithmic axis, as shares; None without any."""
    bounds = [
        (max(low, 1), max(high, 2))
        for buckets in distributions.values()
        for low, high, count in buckets
        if count
    ]
    if not bounds:
        return None
    low = math.log10(min(b[0] for b in bounds)) - 0.02
    high = max(math.log10(max(b[1] for b in bounds)) + 0.02, low + 0.5)
    shares = {name: _shares(buckets, low, high) for name, buckets in distributions.items()}
    top = max(max(found, default=0.0) for found in shares.values())
    width = (WIDTH - LEFT - RIGHT) / _STEPS
    paths = {}
    for name, found in shares.items():
        points = [(LEFT, _y(0, top))]
        for step, share in enumerate(found):
            points += [(LEFT + at * width, _y(share, top)) for at in (step, step + 1)]
        points.append((WIDTH - RIGHT, _y(0, top)))
        paths[name] = _path(points)
    ticks = [
        Tick(LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT), f"{ms:g} ms")
        for ms in _TICKS_MS
        if low <= (x := math.log10(ms * 1000)) <= high
    ]
    # Ten labels are what fits beside each other.
    ticks = ticks[:: max(1, math.ceil(len(ticks) / 10))]
    return Chart(ticks, [Tick(_y(0, top), "0"), Tick(_y(top, top), f"{top:.0%}")], paths, {})


def _shares(buckets: list[list[int]], low: float, high: float) -> list[float]:
    """A bucket that spans steps is spread over them, so that wide ones leave no gaps."""
    found = [0.0] * _STEPS
    whole = sum(count for _, _, count in buckets)
    for low_us, high_us, count in buckets:
        begins = (math.log10(max(low_us, 1)) - low) / (high - low) * _STEPS
        ends = (math.log10(max(high_us, 2)) - low) / (high - low) * _STEPS
        for step in range(int(begins), min(_STEPS, math.ceil(ends))):
            part = min(ends, step + 1) - max(begins, step)
            found[step] += count / whole * max(part, 0.0) / (ends - begins)
    return found


def slow_down(progress: list[dict[str, Any]], margin: float | None) -> Chart | None:
    """The typical slow-down over time with its interval and the margin; None without any."""
    known = [item for item in progress if item["change"] is not None]
    if not known:
        return None
    begin: float
    end: float
    begin, end = known[0]["at_s"], known[-1]["at_s"]
    changes = [item["change"] for item in known] + [1.0] + ([margin] if margin else [])
    bounds = [item[key] for item in known for key in ("low", "high") if item[key] is not None]
    # The first intervals are wide: they must not flatten what comes after them.
    low = max(min(changes + bounds), min(changes) - 0.5)
    high = min(max(changes + bounds), max(changes) + 0.5)
    room = (high - low) * 0.08 or 0.05
    low, high = low - room, high + room

    def x(at_s: float) -> float:
        return LEFT + (at_s - begin) / (end - begin or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(factor: float | None, unbounded: float) -> float:
        at = min(max(unbounded if factor is None else factor, low), high)
        return _y(at - low, high - low)

    upper = [
        (x(i["at_s"]), y(i["high"], high)) for i in known if (i["low"], i["high"]) != (None, None)
    ]
    lower = [
        (x(i["at_s"]), y(i["low"], low)) for i in known if (i["low"], i["high"]) != (None, None)
    ]
    paths = {"change": _path([(x(i["at_s"]), y(i["change"], low)) for i in known])}
    if upper:
        paths["interval"] = _path([*upper, *reversed(lower)]) + "Z"
    lines = {"none": y(1.0, low)}
    if margin:
        lines["margin"] = y(margin, low)
    return Chart(
        [Tick(x(begin + part * (end - begin)), _ago(part * (end - begin))) for part in _parts()],
        [Tick(_y(part, 1.0), f"× {low + part * (high - low):.2f}") for part in _parts()],
        paths,
        lines,
    )


def bars(differences: list[dict[str, Any]]) -> list[Bar]:
    """The paths at which most pairs differ, by their share of all compared."""
    return [
        Bar(item["path"], min(item["share"], 1.0), item["noise_share"], item["is_noise"])
        for item in differences[:_MOST_BARS]
    ]


def _parts() -> tuple[float, ...]:
    return 0.0, 0.25, 0.5, 0.75, 1.0


def _ago(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _y(height: float, top: float) -> float:
    return HEIGHT - BOTTOM - (height / top if top else 0.0) * (HEIGHT - TOP - BOTTOM)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
