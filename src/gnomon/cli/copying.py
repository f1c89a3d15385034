"""`gnomon cp`: between disk and the object store."""

from __future__ import annotations

from pathlib import Path

from gnomon.errors import GnomonError
from gnomon.objects.store import ObjectStore


class CannotCopy(GnomonError):
    """What was asked to be copied cannot be."""


async def copy(objects: ObjectStore, source: str, target: str) -> str:
    """Copies one file or object and returns where it is now.

    A target that ends in a slash, or is a directory, gets the source's name.
    """
    name = source.rstrip("/").rpartition("/")[2]
    if target.startswith("s3://"):
        url = f"{target}{name}" if target.endswith("/") else target
        data = await objects.get(source) if source.startswith("s3://") else _read(Path(source))
        await objects.put(url, data)
        return url
    if not source.startswith("s3://"):
        raise CannotCopy("One of the two must be in the store: begin it with s3://.")
    path = Path(target)
    if target.endswith("/") or path.is_dir():
        path = path / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        await objects.fetch(source, path)
    except OSError as error:
        raise CannotCopy(f"{path} cannot be written: {error.strerror}.") from error
    return str(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotCopy(f"{path} cannot be read: {error.strerror}.") from error
