"""What a request costs the router, in counts that no other work on the machine changes.

Reads and writes, function calls, objects and bytes of memory: whoever adds a needless one meets
these bounds, which are what was measured and little more. A change that is worth its price moves
the bound in the same commit. Times are the business of `scripts/bench router`.
"""

import asyncio
import contextlib
import gc
import sys
import tracemalloc
from pathlib import Path

import pytest
import uvloop

from gnomon.model.snapshot import Capture, Instance, Variant
from gnomon.settings import RouterSettings
from gnomon.testing.router_rig import endpoint, running_router, until

PEERS = Path(__file__).with_name("peers.py")
# Nothing idles out while it is counted.
SETTINGS = RouterSettings(drain_idle_s=0.0, pool_idle_s=60.0)
KEEP_ALIVE_S = 75.0
REQUESTS = 200
HELD = 100
BODY_BYTES = 200
LARGE_BYTES = 1024 * 1024
LARGE_HELD = 8


class Peers:
    def __init__(self, process):
        self._process = process

    async def say(self, *words):
        self._process.stdin.write(f"{' '.join(map(str, words))}\n".encode())
        await self._process.stdin.drain()

    async def tell(self, *words):
        await self.say(*words)
        assert (await self.hear()).split() == [words[0]]

    async def hear(self):
        return (await asyncio.wait_for(self._process.stdout.readline(), 20)).decode()


class NoSpool:
    """Keeps nothing, or what it keeps would count as the router's."""

    trouble = ""

    def append(self, _frame, _seal=None):
        return True


@contextlib.asynccontextmanager
async def routed(directory, *, mirrored, captured=False):
    process = await asyncio.create_subprocess_exec(
        sys.executable, PEERS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    peers = Peers(process)
    try:
        model, shadow = (await peers.hear()).split()
        demo = endpoint(
            "demo",
            served("prod", model),
            shadow=served("shadow", shadow) if mirrored else None,
            captures=[Capture("c", "x-demo")] if captured else [],
        )
        async with running_router(directory, settings=SETTINGS, spool=NoSpool()) as rig:
            await rig.apply(demo)
            await peers.say(rig.port)
            yield rig.router, peers
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def served(name, port):
    return Variant(
        f"v-{name}",
        name,
        1.0,
        (Instance(name, "127.0.0.1", int(port), keep_alive_s=KEEP_ALIVE_S),),
    )


def on_uvloop(work):
    """As a router runs: what is read and written when is the loop's business."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def reads_and_writes():
    """How often this thread has called read and write so far, or their kin (proc(5), io)."""
    lines = Path("/proc/thread-self/io").read_text().splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["syscr"]), int(counts["syscw"])


async def ask(router, peers, count):
    await peers.tell("ask", count, 1, BODY_BYTES)
    await until(lambda: not router.copies_in_flight)


async def count_system_calls(directory, **kinds):
    async with routed(directory, **kinds) as (router, peers):
        await ask(router, peers, 20)
        before = reads_and_writes()
        await ask(router, peers, REQUESTS)
        after = reads_and_writes()
    return [(b - a) / REQUESTS for a, b in zip(before, after, strict=True)]


async def count_function_calls(directory, **kinds):
    """Of Python and of C, a request; the least of a few rounds, since some meet periodic work."""
    calls = 0

    def note(_frame, event, _argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    rounds = []
    async with routed(directory, **kinds) as (router, peers):
        await ask(router, peers, 20)
        for _ in range(3):
            calls = 0
            sys.setprofile(note)
            try:
                await peers.tell("ask", REQUESTS, 1, BODY_BYTES)
            finally:
                sys.setprofile(None)
            rounds.append(calls / REQUESTS)
            await until(lambda: not router.copies_in_flight)
    return min(rounds)


async def hold(peers, count, length):
    await peers.tell("hold", count, length)


async def release(router, peers):
    await peers.tell("release")
    await until(lambda: not router.copies_in_flight)


async def count_blocks(directory, **kinds):
    """Blocks of memory for each open request, and what is left of each once it is answered."""
    async with routed(directory, **kinds) as (router, peers):
        for _ in range(2):
            await hold(peers, HELD, BODY_BYTES)
            await release(router, peers)
        gc.collect()
        before = sys.getallocatedblocks()
        await hold(peers, HELD, BODY_BYTES)
        held = sys.getallocatedblocks()
        await release(router, peers)
        gc.collect()
        after = sys.getallocatedblocks()
    return (held - before) / HELD, (after - before) / HELD


async def count_bodies(directory, **kinds):
    """Memory for each open request with a large body, and the most at once, in bodies."""
    async with routed(directory, **kinds) as (router, peers):
        await hold(peers, LARGE_HELD, LARGE_BYTES)
        await release(router, peers)
        tracemalloc.start()
        try:
            await hold(peers, LARGE_HELD, LARGE_BYTES)
            held, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await release(router, peers)
    return held / LARGE_HELD / LARGE_BYTES, most / LARGE_HELD / LARGE_BYTES


@pytest.mark.parametrize(("mirrored", "bound"), [(False, 2), (True, 3)])
def test_each_message_is_read_once_and_written_once(tmp_path, mirrored, bound):
    # Client and model, and the shadow where there is one. A tenth is for what is periodic.
    reads, writes = on_uvloop(count_system_calls(tmp_path, mirrored=mirrored))
    assert bound <= reads < bound + 0.1
    assert bound <= writes < bound + 0.1


# Measured: 124 to 126, 227 to 231 and 247 to 250: what is periodic falls into some more often.
@pytest.mark.parametrize(
    ("mirrored", "captured", "bound"),
    [(False, False, 131), (True, False, 240), (True, True, 258)],
)
def test_a_request_takes_no_more_function_calls(tmp_path, mirrored, captured, bound):
    kinds = {"mirrored": mirrored, "captured": captured}
    assert bound / 2 < on_uvloop(count_function_calls(tmp_path, **kinds)) <= bound


def test_an_open_request_takes_few_blocks_of_memory_and_gives_them_back(tmp_path):
    # Measured: 26.9 to 28.5, and up to 1.1: each connection keeps the time of its last answer.
    held, left = on_uvloop(count_blocks(tmp_path, mirrored=True, captured=True))
    assert 10 < held <= 30
    assert left < 1.5


def test_a_body_is_held_once_for_production_shadow_and_capture(tmp_path):
    # Measured: 1.002 and 1.13; while a body comes, one at a time is there twice.
    held, most = on_uvloop(count_bodies(tmp_path, mirrored=True, captured=True))
    assert 1 <= held < 1.02
    assert most < 1.2
