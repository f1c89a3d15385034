"""Looks for a model archive, gets it and unpacks it, once for each content.

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

from gnomon.errors import GnomonError, ModelDataNotFound, ModelDataNotKept, ModelDataUnavailable
from gnomon.hosting.unpack import ArchiveUnusable, unpack
from gnomon.settings import HostingSettings

# What an archive is unpacked in begins with this, beside the models.
_SCRATCH = ".unpacking-"
# How long a store may take to say whether it has an archive (s): who waits is a caller of the API,
# whose client gives an answer 60 s.
_CHECK_TIME_LIMIT_S = 10.0

Fetch = Callable[[str, Path], Awaitable[None]]
Exists = Callable[[str], Awaitable[bool]]


async def check(url: str, exists: Exists) -> None:
    """Raises ModelDataNotFound if there is nothing at `url`, and ModelDataUnavailable, which says
    why, if that cannot be told.

    `exists(url)` asks a store. What is in the archive is not looked at: `prepare` does.
    """
    try:
        async with asyncio.timeout(_CHECK_TIME_LIMIT_S):
            found = await _is_there(url, exists)
    except TimeoutError as error:
        reason = f"its store has not answered within {_CHECK_TIME_LIMIT_S:g} s. Try again later."
        raise ModelDataUnavailable(url, reason) from error
    except OSError as error:
        raise ModelDataUnavailable(url, _said(error)) from error
    except ModelDataUnavailable:
        raise
    except GnomonError as error:
        raise ModelDataUnavailable(url, str(error)) from error
    if not found:
        raise ModelDataNotFound(url)


async def size_bytes(url: str, size_of: Callable[[str], Awaitable[int]]) -> int:
    """How large the archive is; `size_of(url)` asks a store. What that raises goes on; OSError."""
    if _scheme(url) == "file":
        return (await asyncio.to_thread(_path(url).stat)).st_size
    return await size_of(url)


async def _is_there(url: str, exists: Exists) -> bool:
    if _scheme(url) == "file":
        return await asyncio.to_thread(_path(url).is_file)
    return await exists(url)


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
    scheme = _scheme(url)
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


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme not in ("s3", "file"):
        raise ModelDataUnavailable(url, "it must begin with s3:// or file://.")
    return scheme


def _path(url: str) -> Path:
    """The file that a file:// URL names."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ModelDataUnavailable(url, _said(error)) from error
    if parts.netloc not in ("", "localhost"):
        raise ModelDataUnavailable(url, "a file:// URL has three slashes before its path.")
    return Path(unquote(parts.path))


def _said(error: Exception) -> str:
    return f"{(getattr(error, 'strerror', None) or str(error)).lower()}."


def _copy(url: str, archive: Path) -> None:
    try:
        source = _path(url).open("rb")
    except (OSError, ValueError) as error:
        raise ModelDataUnavailable(url, _said(error)) from error
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
