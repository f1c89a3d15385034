"""What all steps of the demo share: Gnomon, the screen, where things lie, and patience."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from examples.demo.flights import Flight
from examples.demo.local_gnomon import LocalGnomon
from examples.demo.records import Record, read_records
from examples.demo.report_view import Report
from examples.demo.screen import Screen
from examples.demo.shadow_test import EXPERIMENT
from examples.demo.training import Trained

# Enough to keep two production instances busy; more only wait for each other.
THREADS = 4

# Counts and records are on their way for a few seconds; a busy machine may need more.
_SETTLE_TIME_LIMIT_S = 30.0
_SETTLE_LOOK_S = 0.25

T = TypeVar("T")


@dataclass(frozen=True)
class Models:
    """The two models, the flights to ask about, and what each variant's model says of them."""

    production: Trained
    shadow: Trained
    flights: Sequence[Flight]
    lines: Sequence[str]
    expected: dict[str, list[str]]


@dataclass(frozen=True)
class Stage:
    """`work` is a directory of the demo's own, for archives and counts."""

    gnomon: LocalGnomon
    screen: Screen
    work: Path

    @property
    def counts(self) -> Path:
        """Where the models count the invocations that they answered."""
        return self.work / "counts"

    def archive(self, variant: str) -> Path:
        return self.work / "archives" / variant / "model.tar.gz"

    def report(self) -> Report:
        return self.gnomon.report(EXPERIMENT)

    def records_when(self, variant: str, count: int) -> list[Record]:
        """A variant's captured records once there are `count`; else what there is in the end."""
        return when(
            lambda: read_records(self.gnomon.captured(EXPERIMENT, variant)),
            lambda records: len(records) >= count,
        )


def when(look: Callable[[], T], is_good: Callable[[T], bool]) -> T:
    """What `look` gives once it is good; what it gives in the end if that takes too long."""
    deadline_s = time.monotonic() + _SETTLE_TIME_LIMIT_S
    while True:
        seen = look()
        if is_good(seen) or time.monotonic() > deadline_s:
            return seen
        time.sleep(_SETTLE_LOOK_S)
