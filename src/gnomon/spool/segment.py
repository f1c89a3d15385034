"""How frames lie in a segment file of the spool: written by `writer`, read by the collector.

A segment is named for its number, `00000001.open` while it grows and `00000001.seg` once it is
closed. All numbers in it are little-endian:

    file   = magic (8 bytes, "GNOMONSP"), version (u32, 1), frame*
    frame  = version (u8, 1), kind (u8), length (u32), checksum (u32), payload (length bytes)

The kind says what the payload holds, so that a reader passes over what it does not want without
decoding it: 1 metrics, 2 exchange, 3 pair, 4 barrier, 5 sealed exchange, 6 sealed pair, 7 noise,
8 sealed noise, 9 complete. The payload is the MessagePack of the structure in `frames`, which of a
sealed one `sealing` closed. The checksum is the CRC-32 of version, kind, length and payload.

A file may end in the middle of a frame: the writer was killed, or is writing. Such a torn tail is
expected, told and counted; a frame that is whole but of an unknown version is an error.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from gnomon.errors import GnomonError
from gnomon.spool.frames import Barrier, Complete, Exchange, Frame, Metrics, Noise, Pair
from gnomon.spool.sealing import FrameOpener, NotSealed, wrapped_key

MAGIC = b"GNOMONSP"
FILE_VERSION = 1
FRAME_VERSION = 1

METRICS, EXCHANGE, PAIR, BARRIER, NOISE, COMPLETE = 1, 2, 3, 4, 7, 9
KIND_OF: dict[type[Frame], int] = {
    Metrics: METRICS,
    Exchange: EXCHANGE,
    Pair: PAIR,
    Barrier: BARRIER,
    Noise: NOISE,
    Complete: COMPLETE,
}
SEALED_OF = {EXCHANGE: 5, PAIR: 6, NOISE: 8}
_OPENED_OF = {sealed: kind for kind, sealed in SEALED_OF.items()}
_KINDS = frozenset(KIND_OF.values())

OPEN_SUFFIX = ".open"
CLOSED_SUFFIX = ".seg"

_CHECKED = struct.Struct("<BBI")
_HEAD = struct.Struct("<BBII")
_VERSION = struct.Struct("<I")
HEAD_BYTES = _HEAD.size
FILE_HEAD = MAGIC + _VERSION.pack(FILE_VERSION)


class SegmentUnreadable(GnomonError):
    """A segment that is whole as far as it goes, but not of a format that this version reads."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        self.path = path
        self.offset = offset
        self.reason = reason
        super().__init__(f"The spool segment {path} cannot be read at byte {offset}: {reason}.")


def segment_name(number: int, *, closed: bool) -> str:
    """The file name of segment `number` of an incarnation."""
    return f"{number:08d}{CLOSED_SUFFIX if closed else OPEN_SUFFIX}"


def frame_head(kind: int, payload: bytes) -> bytes:
    """What stands before a payload in the file."""
    checked = _CHECKED.pack(FRAME_VERSION, kind, len(payload))
    return checked + _VERSION.pack(zlib.crc32(payload, zlib.crc32(checked)))


class SegmentReader:
    """The frames of one segment from `offset` (0, or one that a reader gave before).

    Iterating yields (offset after the frame, frame) for the wanted kinds. `offset` moves over
    frames of every kind; `torn_bytes` is how many were met after it that are no whole frame,
    `modified_at_s` when the file was written last, `size_bytes` how much of it there was when the
    iteration began.
    A reader is used up by one iteration; a growing file is read again by a new one. Sealed frames
    are opened by `opener`, and what that raises goes on to the caller; `wrapped_keys` has, by
    experiment, the data key under which the first of its sealed pairs was.
    """

    def __init__(
        self,
        path: Path,
        offset: int = 0,
        kinds: Collection[int] = _KINDS,
        opener: FrameOpener | None = None,
    ) -> None:
        self.path = path
        self.offset = offset
        self.torn_bytes = 0
        self.modified_at_s = 0.0
        self.size_bytes = 0
        self.wrapped_keys: dict[str, bytes] = {}
        self._kinds = kinds
        self._opener = opener
        self._decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        with self._open() as file:
            status = os.fstat(file.fileno())
            size, self.modified_at_s = status.st_size, status.st_mtime
            self.size_bytes = size
            if self.offset == 0 and not self._read_file_head(file, size):
                return
            file.seek(self.offset)
            while (item := self._read_frame(file, size)) is not None:
                kind, payload = item
                frame = None
                if _OPENED_OF.get(kind, kind) in self._kinds:
                    frame = self._decode(self._opened(kind, payload))
                    if kind in _OPENED_OF and isinstance(frame, Pair):
                        self.wrapped_keys.setdefault(frame.experiment_id, wrapped_key(payload))
                self.offset += HEAD_BYTES + len(payload)
                if frame is not None:
                    yield self.offset, frame

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            # Its writer may have closed it since it was listed.
            return self.path.with_suffix(CLOSED_SUFFIX).open("rb")

    def _read_file_head(self, file: BinaryIO, size: int) -> bool:
        head = file.read(len(FILE_HEAD))
        # After a power cut a file may have its length and nothing of its content.
        if len(head) < len(FILE_HEAD) or not any(head):
            self.torn_bytes = size
            return False
        if head != FILE_HEAD:
            raise SegmentUnreadable(self.path, 0, "it does not start as a segment of this version")
        self.offset = len(FILE_HEAD)
        return True

    def _read_frame(self, file: BinaryIO, size: int) -> tuple[int, bytes] | None:
        head = file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            self.torn_bytes = len(head)
            return None
        version, kind, length, checksum = _HEAD.unpack(head)
        # A length that lies is met here, before memory is taken for it.
        if self.offset + HEAD_BYTES + length > size:
            self.torn_bytes = size - self.offset
            return None
        payload = file.read(length)
        if zlib.crc32(payload, zlib.crc32(head[: _CHECKED.size])) != checksum:
            self.torn_bytes = size - self.offset
            return None
        if version != FRAME_VERSION or _OPENED_OF.get(kind, kind) not in _KINDS:
            raise SegmentUnreadable(
                self.path, self.offset, f"a frame of version {version} and kind {kind}"
            )
        return kind, payload

    def _opened(self, kind: int, payload: bytes) -> bytes:
        if kind not in _OPENED_OF:
            return payload
        if self._opener is None:
            raise SegmentUnreadable(
                self.path, self.offset, "a sealed frame, and nothing to open it"
            )
        try:
            return self._opener.open(_OPENED_OF[kind], payload)
        except NotSealed as error:
            raise SegmentUnreadable(self.path, self.offset, f"a sealed frame: {error}") from error

    def _decode(self, payload: bytes) -> Frame:
        try:
            return self._decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise SegmentUnreadable(self.path, self.offset, f"a frame: {error}") from error
