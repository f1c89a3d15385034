import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon import settings_reading
from gnomon.app.child import KEY_BYTES, VARIABLE, Hand, Orders, alone
from gnomon.settings import Settings


async def test_the_next_one_waits_until_the_one_before_is_gone(tmp_path):
    orders = Orders(asyncio.Event(), asyncio.Event(), bytes(32))
    order = []

    async def next_one():
        async with alone(tmp_path / "lock", orders) as is_alone:
            order.append(("next", is_alone))

    async with alone(tmp_path / "lock", orders) as is_alone:
        assert is_alone
        waiting = asyncio.create_task(next_one())
        # It has tried at least once when it comes to its pause.
        while not waiting.get_coro().cr_await:
            await asyncio.sleep(0)
        order.append("before")
    await waiting
    assert order == ["before", ("next", True)]


async def test_one_that_is_told_to_end_while_it_waits_does_not_begin(tmp_path):
    orders = Orders(asyncio.Event(), asyncio.Event(), bytes(32))
    orders.orphaned.set()
    async with alone(tmp_path / "lock", orders) as first:
        assert first
        async with alone(tmp_path / "lock", orders) as second:
            assert not second


CHILD = """
import sys
from gnomon.app.child import run_child


async def main(settings, hand, orders):
    raise OSError(int(sys.argv[1]), "said by the system", "/data/file")


run_child("child", main)
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_one_that_the_machine_does_not_let_begin_ends_with_a_sentence(tmp_path, number):
    ended = begin(tmp_path, number)
    assert ended.returncode == 1
    (line,) = map(json.loads, ended.stderr.splitlines())
    assert line["event"] == "it cannot go on, and is begun again"
    assert line["reason"].startswith("/data/file cannot be used, since ")


def test_one_that_fails_for_another_reason_says_all_of_it(tmp_path):
    assert "Traceback" in begin(tmp_path, errno.EINVAL).stderr


def begin(tmp_path: Path, number: int) -> subprocess.CompletedProcess[str]:
    lifetime, ours = os.pipe()
    os.write(ours, bytes(KEY_BYTES))
    hand = Hand(settings_reading.encode(Settings(tmp_path)), lifetime)
    try:
        return subprocess.run(
            [sys.executable, "-c", CHILD, str(number)],
            env={**os.environ, VARIABLE: hand.encode()},
            pass_fds=[lifetime],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(lifetime)
        os.close(ours)
