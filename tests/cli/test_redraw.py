"""The page of `gnomon status --watch`, on a terminal and off it."""

import os
import pty
import select
import subprocess
import sys

import pytest

from gnomon.cli.redraw import redraw
from gnomon.errors import GnomonError

_PROGRAM = """
import itertools
from gnomon.cli.redraw import redraw
from gnomon.errors import GnomonError

numbers = itertools.count()


def show():
    number = next(numbers)
    if number == 1:
        raise GnomonError("It is away.")
    print("page", number)


redraw(show)
"""


def test_what_is_wrong_at_first_is_an_error():
    def show():
        raise GnomonError("No.")

    with pytest.raises(GnomonError):
        redraw(show)


@pytest.mark.slow
def test_off_a_terminal_pages_follow_each_other_until_ctrl_c():
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(5)]
    process.send_signal(2)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert lines == ["page 0\n", "\n", "It is away.\n", "\n", "page 2\n"]


@pytest.mark.slow
def test_on_a_terminal_the_page_is_drawn_in_place():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdout=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(theirs)
    try:
        seen = b""
        while b"page 2" not in seen:
            assert select.select([ours], [], [], 20)[0], seen
            seen += os.read(ours, 4096)
        process.send_signal(2)
        while True:
            # Whatever is still written must be read, or it could not end.
            try:
                data = os.read(ours, 4096)
            except OSError:
                break
            if not data:
                break
            seen += data
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    # Into the other screen, home before each page, and back.
    assert b"\x1b[?1049h" in seen
    assert b"It is away." in seen
    assert seen.count(b"\x1b[H") >= 3
    assert b"\x1b[?1049l" in seen
