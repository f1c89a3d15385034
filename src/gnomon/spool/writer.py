"""Writes a router's frames into the spool without ever holding the router up.

`append` encodes on the caller's loop into a bounded buffer; a thread of its own seals what is to be
sealed and writes, some milliseconds later. A disk that fails costs nobody a request: what waits
stays in the buffer, what does not fit is dropped and counted, exchanges first, then pairs; metrics
are added up instead, and barriers are kept. The same goes for a directory that reached its bound
because nobody collects, and for a disk on which little is free: that belongs to what cannot be
dropped.
What a power cut may take, the setting `spool.fsync` says; the thread alone waits for it.
Its counterpart is the collector, through `segment` and `incarnation`.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from gnomon.settings import MIB, SpoolSettings
from gnomon.spool import segment
from gnomon.spool.disk import Disk, MachineDisk, shortage
from gnomon.spool.frames import Frame, Metrics
from gnomon.spool.incarnation import claim, mark_end, size_bytes
from gnomon.spool.merge import merge_metrics
from gnomon.spool.sealing import FrameSeal

# Exchanges may fill this share of the buffer and of the disk's bound; the rest is for what
# comparison needs.
_EXCHANGES_SHARE = 0.75
# How long (s) the thread waits before it tries a disk again that refused a write.
_RETRY_S = 1.0
# How often (s) at most the directory is looked at again after it refused a frame, and the disk.
_MEASURE_S = 1.0
# Frames in one writev: each is two buffers, and Linux takes 1,024 (IOV_MAX) in one call.
_FRAMES_A_WRITE = 512
_KIND_NAMES = {
    segment.METRICS: "metrics",
    segment.EXCHANGE: "exchange",
    segment.PAIR: "pair",
    segment.NOISE: "noise",
    segment.BARRIER: "barrier",
    segment.COMPLETE: "complete",
}


class SpoolWriter:
    """The one writer of an incarnation's directory.

    `append` belongs to one thread (the router's loop) and `_run` to the writer's own. Neither
    waits for the other: each only adds to its own byte count, and the difference is what waits.
    """

    def __init__(
        self,
        root: Path,
        incarnation_id: str,
        settings: SpoolSettings,
        clock: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        self.directory, self._lock = claim(root, incarnation_id)
        self.dropped: dict[str, int] = {}
        self.disk_errors = 0
        self._settings = settings
        # What exchanges may fill of the buffer.
        self._exchanges_bytes = settings.buffer_bytes * _EXCHANGES_SHARE
        self._clock = clock
        self._disk = disk or MachineDisk()
        # How short space on the disk is (`gnomon.spool.disk.shortage`), as of the last look.
        self._shortage = 0
        self._free_bytes = 0
        self._looked_at = -math.inf
        self._failure = ""
        self._encoder = msgspec.msgpack.Encoder()
        self._waiting: deque[tuple[int, bytes, FrameSeal | None]] = deque()
        self._appended_bytes = 0
        self._written_bytes = 0
        # An exchange too large for its share, and the count of written bytes at which it is gone.
        self._large_bytes = 0
        self._large_until = 0
        # What the directory holds: measured now and then, since the collector takes away.
        self._disk_bytes = 0
        self._is_disk_full = False
        self._measured_at = 0.0
        self._batch: deque[tuple[int, bytes]] = deque()
        self._number = 0
        self._file = -1
        self._file_bytes = 0
        # How much of the open segment a power cut cannot take.
        self._safe_bytes = 0
        self._opened_at = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of payload that are in the buffer, as they will be in the file."""
        return self._appended_bytes - self._written_bytes

    @property
    def trouble(self) -> str:
        """A sentence on what keeps frames from the disk now; empty if nothing does."""
        if self._failure:
            return (
                f"The spool {self.directory} cannot be written ({self._failure}): see to its disk; "
                "what the buffer has no room for is dropped and counted."
            )
        if self._shortage:
            what = "captures are" if self._shortage == 1 else "captures and pairs are"
            return (
                f"Only {self._free_bytes // MIB:,} MiB are free on the disk of {self.directory}, "
                f"and {what} dropped and counted: free space there."
            )
        return ""

    @property
    def given_up(self) -> int:
        """After `close`: frames that the disk did not take."""
        return len(self._batch) + len(self._waiting)

    def append(self, frame: Frame, seal: FrameSeal | None = None) -> bool:
        """Take a frame for writing; False if it was dropped (and counted). Never waits.

        An exchange, a pair or noise may be sealed.
        """
        kind = segment.KIND_OF[type(frame)]
        payload = self._encoder.encode(frame)
        payload_bytes = len(payload) if seal is None else len(payload) + seal.added_bytes
        if not self._fits(kind, payload_bytes):
            name = _KIND_NAMES[kind]
            self.dropped[name] = self.dropped.get(name, 0) + 1
            # The thread may find room on the disk, even if nothing is to be written.
            self._rouse()
            return False
        self._appended_bytes += payload_bytes
        if kind == segment.EXCHANGE and payload_bytes > self._exchanges_bytes:
            self._large_bytes, self._large_until = payload_bytes, self._appended_bytes
        self._waiting.append((kind, payload, seal))
        self._rouse()
        return True

    def close(self) -> None:
        """Write what waits, close the segment and free the lock; blocks for the disk.

        What a failing disk refuses once more is given up.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join()
        os.close(self._lock)

    def _rouse(self) -> None:
        if not self._wake.is_set():
            self._wake.set()

    def _fits(self, kind: int, payload_bytes: int) -> bool:
        if kind not in (segment.EXCHANGE, segment.PAIR, segment.NOISE):
            return True
        is_exchange = kind == segment.EXCHANGE
        if self._shortage >= (1 if is_exchange else 2):
            return False
        waiting = self.waiting_bytes
        disk_bound = self._settings.max_bytes * (_EXCHANGES_SHARE if is_exchange else 1)
        if self._disk_bytes + waiting + payload_bytes > disk_bound:
            self._is_disk_full = True
            return False
        bound = self._settings.buffer_bytes
        if not is_exchange:
            # A large exchange takes no room from pairs.
            large = self._large_bytes if self._written_bytes < self._large_until else 0
            return waiting - large + payload_bytes <= bound
        if payload_bytes > self._exchanges_bytes:
            # Two large bodies exceed the share by themselves: one such at a time, when little else
            # waits. How large it can be, the router's bounds on bodies say.
            return waiting <= bound - self._exchanges_bytes
        return waiting + payload_bytes <= self._exchanges_bytes

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._rest_s())
            # One batch gathers what comes meanwhile.
            self._closing.wait(self._settings.flush_interval_s)
            self._wake.clear()
            if not self._write_waiting():
                self._condense_waiting()
                self._closing.wait(_RETRY_S)
                self._wake.set()
        is_whole = self._write_waiting()
        with contextlib.suppress(OSError):
            self._close_segment()
            if is_whole:
                mark_end(self.directory)

    def _rest_s(self) -> float | None:
        """How long there is nothing to do unless something is appended; None: for ever."""
        left_s = self._left_s()
        if not self._shortage:
            return left_s
        return _MEASURE_S if left_s is None else min(left_s, _MEASURE_S)

    def _left_s(self) -> float | None:
        """How long the open segment may stay open; None without one."""
        if self._file < 0:
            return None
        return max(0.0, self._opened_at + self._settings.segment_age_s - self._clock())

    def _is_too_old(self) -> bool:
        left_s = self._left_s()
        return left_s is not None and left_s <= 0

    def _write_waiting(self) -> bool:
        """Whether the disk took all that waited."""
        try:
            self._seal_waiting()
            self._look_at_disk()
            if self._is_disk_full and self._clock() - self._measured_at >= _MEASURE_S:
                self._measure()
            while self._batch:
                self._write_some()
            if self._is_too_old():
                self._close_segment()
            if self._settings.fsync == "batch" and self._file >= 0:
                self._make_safe()
        except OSError as error:
            self.disk_errors += 1
            self._failure = error.strerror or str(error)
            return False
        except Exception as error:  # noqa: BLE001 - the thread's end; `trouble` says it
            self._failure = f"{type(error).__name__}: {error}"
            return False
        self._failure = ""
        return True

    def _seal_waiting(self) -> None:
        # One by one, since the loop appends meanwhile: a deque's own iteration would fail.
        for _ in range(len(self._waiting)):
            kind, payload, seal = self._waiting[0]
            if seal is not None:
                kind, payload = segment.SEALED_OF[kind], seal.close(kind, payload)
            self._batch.append((kind, payload))
            self._waiting.popleft()

    def _look_at_disk(self) -> None:
        if self._clock() - self._looked_at < _MEASURE_S:
            return
        self._looked_at = self._clock()
        self._free_bytes = self._disk.free_bytes(self.directory)
        self._shortage = shortage(self._free_bytes, self._settings.min_free_bytes, self._shortage)

    def _measure(self) -> None:
        self._is_disk_full = False
        self._disk_bytes = size_bytes(self.directory)
        self._measured_at = self._clock()

    def _write_some(self) -> None:
        if self._file < 0:
            self._open_segment()
        frames = self._next_frames()
        buffers = [part for item in frames for part in (segment.frame_head(*item), item[1])]
        written = self._disk.writev(self._file, buffers)
        whole = written == sum(map(len, buffers))
        for kind, payload in frames:
            frame_bytes = segment.HEAD_BYTES + len(payload)
            if frame_bytes > written:
                break
            written -= frame_bytes
            self._file_bytes += frame_bytes
            self._disk_bytes += frame_bytes
            self._written_bytes += len(payload)
            self._batch.popleft()
            ended = kind == segment.BARRIER
        if not whole:
            # Only the torn frame goes: a reader may have taken the whole ones already.
            self._cut_torn_frame()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if ended or self._file_bytes >= self._settings.segment_bytes:
            self._close_segment()

    def _cut_torn_frame(self) -> None:
        try:
            os.ftruncate(self._file, self._file_bytes)
        except OSError:
            # Nothing may follow it then: readers pass over what is torn at a segment's end.
            self._close_segment()
            raise

    def _next_frames(self) -> list[tuple[int, bytes]]:
        """The next frames for one write: to a barrier, or to where the segment is full."""
        frames: list[tuple[int, bytes]] = []
        room = self._settings.segment_bytes - self._file_bytes
        for kind, payload in islice(self._batch, _FRAMES_A_WRITE):
            frames.append((kind, payload))
            room -= segment.HEAD_BYTES + len(payload)
            if kind == segment.BARRIER or room <= 0:
                break
        return frames

    def _open_segment(self) -> None:
        self._measure()
        # Truncated, since an attempt that failed half-way may have left the file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        name = segment.segment_name(self._number + 1, closed=False)
        file = os.open(self.directory / name, flags, 0o600)
        try:
            if self._disk.writev(file, [segment.FILE_HEAD]) < len(segment.FILE_HEAD):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(file)
            raise
        self._number += 1
        self._file = file
        self._file_bytes = len(segment.FILE_HEAD)
        self._safe_bytes = 0
        self._opened_at = self._clock()
        if self._settings.fsync == "batch":
            self._make_names_safe()

    def _close_segment(self) -> None:
        if self._file < 0:
            return
        is_to_be_safe = self._settings.fsync != "never"
        try:
            if is_to_be_safe:
                self._make_safe()
        finally:
            # A disk that does not say that all is safe is told of; the segment is whole as it is.
            file, self._file = self._file, -1
            os.close(file)
            names = (segment.segment_name(self._number, closed=closed) for closed in (False, True))
            opened, closed = (self.directory / name for name in names)
            opened.rename(closed)
        if is_to_be_safe:
            self._make_names_safe()

    def _make_safe(self) -> None:
        if self._safe_bytes < self._file_bytes:
            self._disk.sync(self._file)
            self._safe_bytes = self._file_bytes

    def _make_names_safe(self) -> None:
        for directory in (self.directory, self.directory.parent):
            opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._disk.sync(opened)
            finally:
                os.close(opened)

    def _condense_waiting(self) -> None:
        """Add up the metrics that a failing disk left waiting, in front of all else, and keep the
        last word on what is complete: both come each second, and are never dropped.

        A count may move before a barrier that way, never behind one.
        """
        decoder = msgspec.msgpack.Decoder(Metrics)
        metrics = [payload for kind, payload in self._batch if kind == segment.METRICS]
        words = [item for item in self._batch if item[0] == segment.COMPLETE]
        if len(metrics) < 2 and len(words) < 2:
            return
        before = sum(len(payload) for _, payload in self._batch)
        merged = [msgspec.msgpack.encode(merge_metrics(map(decoder.decode, metrics)))][
            : len(metrics)
        ]
        others = [
            item for item in self._batch if item[0] not in (segment.METRICS, segment.COMPLETE)
        ]
        self._batch = deque([*((segment.METRICS, one) for one in merged), *others, *words[-1:]])
        self._written_bytes += before - sum(len(payload) for _, payload in self._batch)
