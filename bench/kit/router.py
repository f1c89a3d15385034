"""A real router process, started as the supervisor starts it, serving from a snapshot on disk.

Control is away, which a router can do without: nothing but it is measured.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.kit.process import cpu_s, running, wait_until
from gnomon import settings_reading
from gnomon.app.child import KEY_BYTES, VARIABLE, Hand
from gnomon.model.layout import Layout
from gnomon.model.snapshot import Endpoint, Update
from gnomon.router import snapshot_file
from gnomon.router.seal import Seal
from gnomon.settings import RouterSettings, Settings, SpoolSettings
from gnomon.spool import segment
from gnomon.spool.frames import Metrics

_HOST = "127.0.0.1"
_KEY = bytes(KEY_BYTES)
_DEFAULTS = RouterSettings()
_SPOOL_DEFAULTS = SpoolSettings()
_ANSWER_TIME_LIMIT_S = 5.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class BenchedRouter:
    """The router that runs; it serves the endpoints that it was started with."""

    pid: int
    port: int
    layout: Layout

    def url(self, endpoint_name: str) -> str:
        return f"http://{_HOST}:{self.port}/endpoints/{endpoint_name}/invocations"

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory_bytes(self) -> int:
        """What it holds in memory now, without what is swapped out."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def counted(self, names: Collection[str]) -> dict[str, float]:
        """Sums of what it counted and has written to its spool so far, by name."""
        sums = dict.fromkeys(names, 0.0)
        for path in self.layout.spool.glob("*/*"):
            if path.suffix not in (segment.OPEN_SUFFIX, segment.CLOSED_SUFFIX):
                continue
            for _, frame in segment.SegmentReader(path, kinds={segment.METRICS}):
                assert isinstance(frame, Metrics)
                for delta in frame.deltas:
                    for name in names:
                        sums[name] += delta.counts.get(name, 0)
        return sums

    def empty_spool(self) -> None:
        """Remove the closed segments, as a collector would; else a bench fills the disk."""
        for path in self.layout.spool.glob(f"*/*{segment.CLOSED_SUFFIX}"):
            path.unlink()


@contextlib.contextmanager
def running_router(
    directory: Path,
    cores: frozenset[int],
    endpoints: Sequence[Endpoint],
    settings: RouterSettings = _DEFAULTS,
    spool: SpoolSettings = _SPOOL_DEFAULTS,
) -> Iterator[BenchedRouter]:
    """One router on a port of its own. It is ready once the first endpoint answers 200."""
    layout = Layout(directory)
    for path in (layout.spool, layout.snapshot(0).parent):
        path.mkdir(parents=True)
    snapshot_file.save(layout.snapshot(0), Update(1, tuple(endpoints)), Seal(_KEY))
    log = directory / "router.log"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((_HOST, 0), backlog=1024))
        listener.setblocking(False)
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        stack.callback(os.close, reading)
        os.write(writing, _KEY)
        heard, beats = os.pipe()
        stack.callback(os.close, heard)
        stack.callback(os.close, beats)
        hand = Hand(
            settings=settings_reading.encode(
                Settings(data_dir=directory, router=settings, spool=spool)
            ),
            lifetime=reading,
            listener=listener.fileno(),
            heartbeat=beats,
        )
        process = stack.enter_context(
            running(
                [sys.executable, "-m", "gnomon.app.router"],
                cores,
                log,
                environ={VARIABLE: hand.encode()},
                pass_fds=(reading, listener.fileno(), beats),
            )
        )
        router = BenchedRouter(process.pid, listener.getsockname()[1], layout)
        wait_until(process, log, "The router", lambda: _answers(router.url(endpoints[0].name)))
        yield router


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, data=b"{}", method="POST")
    try:
        with _opener.open(request, timeout=_ANSWER_TIME_LIMIT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
