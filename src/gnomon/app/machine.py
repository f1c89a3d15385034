"""The clock, chance and the logging of real processes: what everything else is handed."""

from __future__ import annotations

import contextlib
import logging
import os
import time

import structlog

from gnomon.model.ids import ulid

# Mode bits that no file of Gnomon's gets: captured payloads and models' environments are nobody
# else's to read. Instances inherit it, and what they write holds the same.
UMASK = 0o077
_STDERR = 2


class SystemClock:
    """The machine's clocks."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


class _Stderr:
    """Where lines go, one in one write. A disk that is full costs lines, and nothing else."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(_STDERR, text.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def new_id() -> str:
    """A fresh ULID."""
    return ulid(time.time(), os.urandom(10))


def set_up_logging(process: str, level: str) -> None:
    """Structured lines on stderr, each with the name of the process that wrote it."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
