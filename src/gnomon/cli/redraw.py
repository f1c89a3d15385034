"""What a command prints, again and again: in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable

from gnomon.cli.logs import wait_unless_unread
from gnomon.errors import GnomonError

_INTERVAL_S = 1.0


class _Page(io.StringIO):
    """Takes what would go to the terminal, in the terminal's form."""

    def isatty(self) -> bool:
        return True


def redraw(show: Callable[[], None]) -> None:
    """Until Ctrl-C or until nobody reads it. Raises what `show` raises the first time; later it
    is shown: a Gnomon that has gone may come back.
    """
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _in_place(show)
        else:
            _one_after_the_other(show)


def _one_after_the_other(show: Callable[[], None]) -> None:
    show()
    while True:
        sys.stdout.flush()
        wait_unless_unread(sys.stdout.fileno(), _INTERVAL_S)
        sys.stdout.write("\n")
        _show_again(show)


def _in_place(show: Callable[[], None]) -> None:
    from rich.live import Live
    from rich.text import Text

    def page(act: Callable[[], None]) -> Text:
        taken = _Page()
        with contextlib.redirect_stdout(taken):
            act()
        return Text.from_ansi(taken.getvalue())

    first = page(show)
    with Live(first, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(_INTERVAL_S)
            live.update(page(lambda: _show_again(show)), refresh=True)


def _show_again(show: Callable[[], None]) -> None:
    try:
        show()
    except GnomonError as error:
        sys.stdout.write(f"{error}\n")
