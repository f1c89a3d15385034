"""The file that says what runs in a data directory, and how commands find that directory.

The supervisor writes it when everything answers and removes it at its end. Besides, it leaves the
directory's path in the user's state directory, so that commands find a Gnomon whose directory they
were not told.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import msgspec

from gnomon.errors import DataDirectoryError, GnomonError
from gnomon.model.layout import Layout

# Whoever looks whether a data directory is held holds it for microseconds: `hold` tries again for
# this long, in seconds.
_HOLD_PATIENCE_S = 0.5
_HOLD_PAUSE_S = 0.01


class NotRunning(GnomonError):
    """No Gnomon runs where one was looked for; `is_held`: not yet, or not any more."""

    def __init__(self, data_dir: Path, *, is_held: bool) -> None:
        self.data_dir = data_dir
        self.is_held = is_held
        super().__init__(
            f"The Gnomon on {data_dir} is just starting or ending. Try again."
            if is_held
            else f"No Gnomon runs on {data_dir}. Start one with `gnomon up`."
        )


class SeveralRunning(GnomonError):
    """More than one Gnomon runs, and none was named."""

    def __init__(self, data_dirs: list[Path]) -> None:
        self.data_dirs = data_dirs
        names = ", ".join(str(path) for path in data_dirs)
        super().__init__(f"Several Gnomons run ({names}). Name one with --data-dir.")


class Process(msgspec.Struct, frozen=True):
    """One of Gnomon's processes; also its `gnomon.hosting.session.Identity`."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str


class Running(msgspec.Struct, frozen=True):
    """A Gnomon that runs: where it answers, as whom, in which processes.

    `end_time_limit_s` is how long it may take to end, `s3_url` where the S3 server beside answers,
    if there is one. With TLS, `certificate_file` is what it
    shows, and `ca_file` what clients are told to verify that by.
    """

    url: str
    control_url: str
    pid: int
    region: str
    account_id: str
    data_dir: str
    version: str
    end_time_limit_s: float
    processes: tuple[Process, ...]
    s3_url: str = ""
    certificate_file: str = ""
    ca_file: str = ""


def write(running: Running, environ: Mapping[str, str]) -> None:
    """Replaces the data directory's file as a whole, and leaves the directory's path."""
    layout = Layout(Path(running.data_dir))
    partial = layout.running_file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(running), indent=1))
    partial.replace(layout.running_file)
    # A home that cannot be written costs the convenience, not the start.
    with contextlib.suppress(OSError):
        note = _note(layout.root, environ)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(running.data_dir)


def remove(data_dir: Path, environ: Mapping[str, str]) -> None:
    """Nothing runs there any more."""
    Layout(data_dir).running_file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _note(data_dir, environ).unlink(missing_ok=True)


def read(data_dir: Path) -> Running | None:
    """What runs there, or None."""
    layout = Layout(data_dir)
    if not is_held(layout):
        return None
    try:
        return msgspec.json.decode(layout.running_file.read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None


def find(named: Path | None, environ: Mapping[str, str]) -> Running:
    """The Gnomon in the directory named by option or environment, else the one that runs.

    Raises NotRunning or SeveralRunning.
    """
    data_dir = _named(named, environ)
    if data_dir is None:
        noted = _noted(environ)
        if len(noted) > 1:
            raise SeveralRunning(noted)
        data_dir = noted[0] if noted else default_data_dir(environ)
    running = read(data_dir.resolve())
    if running is None:
        raise NotRunning(data_dir, is_held=is_held(Layout(data_dir)))
    return running


def listening_on(port: int, environ: Mapping[str, str]) -> Running | None:
    """The Gnomon of this user that listens on the port, by either of its listeners."""
    for data_dir in _noted(environ):
        running = read(data_dir)
        if running is not None and port in map(_port_of, (running.url, running.control_url)):
            return running
    return None


def chosen_data_dir(named: Path | None, environ: Mapping[str, str]) -> Path:
    """The data directory for a new Gnomon: option, environment, default."""
    return _named(named, environ) or default_data_dir(environ)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """XDG's place for a user's data."""
    home = environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "gnomon"


@contextlib.contextmanager
def hold(layout: Layout) -> Iterator[None]:
    """Holds the data directory: made if need be, and nobody else's while this lasts."""
    try:
        # Captured payloads and models' environments come to lie here: nobody else's to read.
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = layout.supervisor_lock.open("a+")
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {layout.root} cannot be used ({error.filename}: "
            f"{error.strerror}): make it this user's to write, or name another with --data-dir."
        ) from error
    with file:
        _take(file, layout.root)
        # Whom to name to the next who wants it. On a full disk they are told less.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def _take(file: IO[str], root: Path) -> None:
    deadline_s = time.monotonic() + _HOLD_PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                file.seek(0)
                pid = file.read().strip()
                named = f" (process {pid})" if pid else ""
                raise DataDirectoryError(
                    f"Another Gnomon{named} runs on the data directory {root}: end it with "
                    "`gnomon down`, or name another directory with --data-dir."
                ) from None
            time.sleep(_HOLD_PAUSE_S)
        else:
            return


def is_held(layout: Layout) -> bool:
    """Whether a supervisor holds the data directory."""
    try:
        with layout.supervisor_lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _port_of(url: str) -> int | None:
    return urlsplit(url).port


def _named(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """What the option names, else the variable; an empty variable is none."""
    variable = environ.get("GNOMON_DATA_DIR")
    return named or (Path(variable) if variable else None)


def _notes(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "gnomon" / "running"


def _note(data_dir: Path, environ: Mapping[str, str]) -> Path:
    return _notes(environ) / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]


def _noted(environ: Mapping[str, str]) -> list[Path]:
    try:
        paths = [Path(note.read_text()) for note in sorted(_notes(environ).iterdir())]
    except OSError:
        return []
    return [path for path in paths if is_held(Layout(path))]
