"""What the demo shows while it works: moving in a terminal, else a line now and then."""

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from examples.demo.checks import Check

# The report is read from a database that is filled once a second.
_REFRESH_S = 1.0

# Without a terminal: often enough to see that it goes on, seldom enough to read.
_LINE_EVERY_S = 5.0

# How often it is looked whether the work is done.
_LOOK_S = 0.05


class Screen:
    """Prints steps and checks, and keeps the checks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.checks: list[Check] = []
        self._steps = 0

    def step(self, title: str) -> None:
        self._steps += 1
        self.console.print()
        self.console.rule(f"[bold]{self._steps}  {title}", align="left")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def check(self, check: Check) -> None:
        self.checks.append(check)
        mark = "[green]✓[/green]" if check.holds else "[bold red]✗[/bold red]"
        self.console.print(f"{mark} {check.title}", end=": ")
        self.console.print(check.said, markup=False)

    def follow(
        self,
        title: str,
        total: float,
        progress: Callable[[], float],
        is_done: Callable[[], bool],
        details: Callable[[], tuple[RenderableType, str]],
    ) -> None:
        """Shows `progress` towards `total` until `is_done`.

        `details` gives what a terminal shows below the bar, and the same in a line.
        """
        if self.console.is_terminal:
            self._follow_live(title, total, progress, is_done, details)
        else:
            self._follow_lines(title, total, progress, is_done, details)

    def _follow_live(
        self,
        title: str,
        total: float,
        progress: Callable[[], float],
        is_done: Callable[[], bool],
        details: Callable[[], tuple[RenderableType, str]],
    ) -> None:
        bar = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
        task = bar.add_task(title, total=total)
        with Live(bar, console=self.console, refresh_per_second=10) as live:
            due_s = 0.0
            while True:
                done = is_done()
                bar.update(task, completed=min(progress(), total))
                if done or time.monotonic() >= due_s:
                    live.update(Group(bar, details()[0]))
                    due_s = time.monotonic() + _REFRESH_S
                if done:
                    return
                time.sleep(_LOOK_S)

    def _follow_lines(
        self,
        title: str,
        total: float,
        progress: Callable[[], float],
        is_done: Callable[[], bool],
        details: Callable[[], tuple[RenderableType, str]],
    ) -> None:
        due_s = time.monotonic() + _LINE_EVERY_S
        while not is_done():
            if time.monotonic() >= due_s:
                self.say(f"{title}: {progress():,.0f} of {total:,.0f}; {details()[1]}")
                due_s = time.monotonic() + _LINE_EVERY_S
            time.sleep(_LOOK_S)
        self.say(f"{title}: {progress():,.0f} of {total:,.0f}")
