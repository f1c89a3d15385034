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

from gnomon.errors import ModelDataUnavailable
from gnomon.hosting.unpack import ArchiveUnusable, unpack
from gnomon.settings import HostingSettings

Fetch = Callable[[str, Path], Awaitable[None]]


async def prepare(
    url: str, fetch: Fetch, root: Path, limits: HostingSettings, executor: Executor | None = None
) -> Path:
    """The unpacked model directory for the model.tar.gz at `url` (s3:// or file://).

    `fetch(url, path)` writes an object of a store to `path`, or raises ModelDataUnavailable, as
    this does; `root` is `<data>/models`. Safe to call at the same time for the same archive. The
    blocking part runs in `executor`, the loop's own by default.
    """
    loop = asyncio.get_running_loop()
    scheme = urlsplit(url).scheme
    if scheme not in ("s3", "file"):
        raise ModelDataUnavailable(url, "it must begin with s3:// or file://.")
    scratch = await loop.run_in_executor(executor, _make_scratch, url, root)
    try:
        archive = scratch / "archive"
        if scheme == "s3":
            await fetch(url, archive)
        else:
            await loop.run_in_executor(executor, _copy, url, archive)
        return await loop.run_in_executor(executor, _place, url, archive, root, limits)
    finally:
        await asyncio.shield(loop.run_in_executor(executor, _remove, scratch))


def _make_scratch(url: str, root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        # In the same file system as the place it is renamed to.
        return Path(tempfile.mkdtemp(dir=root, prefix=".unpacking-"))
    except OSError as error:
        raise ModelDataUnavailable(url, f"{root} cannot be written: {_said(error)}.") from error


def _remove(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)


def _copy(url: str, archive: Path) -> None:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ModelDataUnavailable(url, "a file:// URL has three slashes before its path.")
    try:
        shutil.copyfile(unquote(parts.path), archive)
    except (OSError, ValueError) as error:
        raise ModelDataUnavailable(url, f"{_said(error)}.") from error


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
    except OSError as error:
        raise ModelDataUnavailable(
            url, f"it could not be unpacked in {root}: {_said(error)}."
        ) from error
    try:
        fresh.rename(home)
    except OSError as error:
        # Somebody else was quicker with the same content.
        if not home.exists():
            raise ModelDataUnavailable(
                url, f"it could not be put in its place: {_said(error)}."
            ) from error
    return home / "model"


def _said(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
