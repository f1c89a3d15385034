"""Lines of instances' logs: whose are shown, where they begin, in which order.

Log files are what models printed, as bytes; nothing is assumed of them but line ends. What follows
them over time is in `gnomon.cli.logs`.
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

# An instance that ended longer ago is old news while there is a newer one, in seconds.
_RECENT_S = 3600.0
# Of a variant whose instances fail one after the other, so many ended ones are shown.
_ENDED_SHOWN = 3
# A line that does not end is passed on in pieces of this size, in bytes.
_MAX_LINE_BYTES = 64 * 1024
# How much of a file is read at once, in bytes.
_BLOCK_BYTES = 256 * 1024
# How far back the last lines are looked for: a progress bar may have none at all, in bytes.
_MAX_LAST_BYTES = 16 * 1024 * 1024

_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:\d\d)?")


class LoggedInstance(msgspec.Struct, frozen=True):
    """An instance as the API lists it."""

    id: str
    variant: str
    status: str
    reason: str
    created_at_s: float
    ended_at_s: float | None

    @property
    def has_ended(self) -> bool:
        return self.ended_at_s is not None

    @property
    def prefix(self) -> bytes:
        return f"{self.variant} {self.id} | ".encode()

    @property
    def state(self) -> bytes:
        """What Gnomon has to say of it, for a line of its own."""
        return f"-- {self.status}{self.reason and ': '}{self.reason}".encode()


def shown(instances: Sequence[LoggedInstance], now_s: float) -> list[LoggedInstance]:
    """Those that live, and of each variant the last that ended within the hour; where there are
    none of either, the last one that ended. In the order given, which is by age.
    """
    kept = {instance.id for instance in instances if not instance.has_ended}
    for variant in {instance.variant for instance in instances}:
        recent = [
            instance.id
            for instance in instances
            if instance.variant == variant
            and instance.ended_at_s is not None
            and instance.ended_at_s >= now_s - _RECENT_S
        ]
        kept.update(recent[-_ENDED_SHOWN:])
    return [instance for instance in instances if instance.id in kept] or list(instances[-1:])


def merged(
    parts: Iterable[tuple[LoggedInstance, Sequence[bytes]]],
) -> Iterator[tuple[LoggedInstance, bytes]]:
    """The lines of several logs by the times that they begin with.

    A line without one belongs to the line before it; the order within a log is kept.
    """
    timed = [_timed(number, *part) for number, part in enumerate(parts)]
    for _, _, instance, line in heapq.merge(*timed, key=lambda entry: entry[:2]):
        yield instance, line


def _timed(
    number: int, instance: LoggedInstance, lines: Sequence[bytes]
) -> Iterator[tuple[float, int, LoggedInstance, bytes]]:
    at_s = instance.created_at_s
    for line in lines:
        at_s = max(at_s, _time(line) or 0.0)
        yield at_s, number, instance, line


def _time(line: bytes) -> float | None:
    found = _TIME.match(line)
    if found is None:
        return None
    try:
        # Without a zone it is this machine's time, as Python's logging writes it.
        return datetime.fromisoformat(found[0].decode().replace(",", ".")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


class Tail:
    """Reads on in one log file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def last(self, count: int) -> list[bytes]:
        """The last lines that are there; what is read next comes after them."""
        try:
            with self._path.open("rb") as file:
                position = size = file.seek(0, os.SEEK_END)
                data = b""
                # A line more than wanted, of which only the end is needed.
                while position > 0 and len(data) < _MAX_LAST_BYTES and data.count(b"\n") <= count:
                    block = min(_BLOCK_BYTES, position)
                    position -= block
                    file.seek(position)
                    data = file.read(block) + data
        except OSError:
            return []
        whole, _, rest = data.rpartition(b"\n")
        self._offset = size - len(rest)
        lines = whole.split(b"\n") if whole or rest != data else []
        return lines[max(0, len(lines) - count) :]

    def more(self, *, is_final: bool = False) -> list[bytes]:
        """What was added: whole lines; at the end also what is left of one."""
        return list(itertools.chain.from_iterable(self._blocks(is_final)))

    def _blocks(self, is_final: bool) -> Iterator[list[bytes]]:
        try:
            with self._path.open("rb") as file:
                if self._offset > file.seek(0, os.SEEK_END):
                    # Somebody has emptied it.
                    self._offset = 0
                file.seek(self._offset)
                while True:
                    data = file.read(_BLOCK_BYTES)
                    whole, newline, rest = data.rpartition(b"\n")
                    if newline:
                        self._offset += len(whole) + 1
                        yield whole.split(b"\n")
                    elif len(rest) >= _MAX_LINE_BYTES or (is_final and rest):
                        self._offset += len(rest)
                        yield [rest]
                    else:
                        return
                    file.seek(self._offset)
        except OSError:
            return
