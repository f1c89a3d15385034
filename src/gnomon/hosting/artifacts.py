"""Gets a model archive and unpacks it, once for each content.

`<data>/models/<sha256 of the archive>/model` is the model directory of every instance that serves
this archive: made beside and renamed into place when it is whole. How an object of a store is had
is handed in; what may be in an archive is `gnomon.hosting.unpack`'s.
"""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gnomon.errors import ModelDataNotKept, ModelDataUnavailable
from gnomon.hosting.unpack import ArchiveUnusable, unpack
from gnomon.settings import HostingSettings

# What an archive is unpacked in begins with this, beside the models.
_SCRATCH = ".unpacking-"

Fetch = Callable[[str, Path], Awaitable[None]]


async def prepare(
    url: str, fetch: Fetch, root: Path, limits: HostingSettings, executor: Executor | None = None
) -> Path:
    """The unpacked model directory for the model.tar.gz at `url` (s3:// or file://).

    `fetch(url, path)` writes an object of a store to `path`, or raises ModelDataUnavailable, or
    OSError for that file; `root` is `<data>/models`. Raises ModelDataUnavailable for what is wrong
    with the archive, and ModelDataNotKept for what is wrong with this machine's disk. Safe to call
    at the same time for the same archive. The blocking part runs in `executor`, the loop's own by
    default.
    """
    loop = asyncio.get_running_loop()
    scheme = urlsplit(url).scheme
    if scheme not in ("s3", "file"):
        raise ModelDataUnavailable(url, "it must begin with s3:// or file://.")
    try:
        scratch = await loop.run_in_executor(executor, _make_scratch, root)
        try:
            archive = scratch / "archive"
            if scheme == "s3":
                await fetch(url, archive)
            else:
                await loop.run_in_executor(executor, _copy, url, archive)
            return await loop.run_in_executor(executor, _place, url, archive, root, limits)
        finally:
            await asyncio.shield(loop.run_in_executor(executor, _remove, scratch))
    except OSError as error:
        raise ModelDataNotKept(url, root, error) from error


def _make_scratch(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    # In the same file system as the place it is renamed to.
    return Path(tempfile.mkdtemp(dir=root, prefix=_SCRATCH))


def remove_unfinished(root: Path) -> None:
    """Removes what a control that was killed left half unpacked. None may be unpacking now."""
    for scratch in root.glob(f"{_SCRATCH}*"):
        _remove(scratch)


def _remove(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)


def _copy(url: str, archive: Path) -> None:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ModelDataUnavailable(url, "a file:// URL has three slashes before its path.")
    try:
        source = Path(unquote(parts.path)).open("rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ModelDataUnavailable(url, f"{said.lower()}.") from error
    with source, archive.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _place(url: str, archive: Path, root: Path, limits: HostingSettings) -> Path:
    """Unpack `archive` beside itself and rename it to where its content belongs."""
    try:
        with archive.open("rb") as file:
            home = root / hashlib.file_digest(file, "sha256").hexdigest()
        if home.exists():
            return home / "model"
        fresh = archive.with_name("unpacked")
        fresh.mkdir()
        unpack(archive, fresh / "model", limits.max_archive_bytes, limits.max_archive_files)
    except ArchiveUnusable as error:
        raise ModelDataUnavailable(url, f"{error}.") from error
    try:
        fresh.rename(home)
    except OSError:
        # Somebody else was quicker with the same content.
        if not home.exists():
            raise
    return home / "model"
