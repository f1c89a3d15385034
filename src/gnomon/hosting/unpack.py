"""Unpacks a model.tar.gz that nobody has reason to trust.

Nothing is written outside the directory, no link leads out of it, there are no devices and no
setuid bits, and a bomb is stopped while it unpacks. `tarfile` reads the format and no more: its own
extraction filters had holes by which an archive's own links redirected later files. Here files are
only ever made in directories that are real, and links are made after all files, and then checked.
"""

import gzip
import os
import stat
import tarfile
import zlib
from pathlib import Path
from typing import IO, cast

_CHUNK_BYTES = 1024 * 1024

# A header (a long name, say) that a tar file may make us read at once: paths are far shorter.
_MAX_READ_BYTES = 4 * 1024 * 1024

# Far deeper than any model's tree, far from what Python's recursive removal of a tree can follow.
_MAX_PARTS = 100

# How much of a name that is too deep is told, in characters.
_TOLD_CHARACTERS = 80


class ArchiveUnusable(Exception):
    """What is wrong with an archive; `gnomon.hosting.artifacts` adds where it came from."""


def unpack(archive: Path, directory: Path, max_bytes: int, max_files: int) -> None:
    """Unpack into `directory`, which is made. Raises ArchiveUnusable, or OSError for our disk's.

    `max_bytes` bounds both the decompressed archive and the files written, `max_files` both its
    members and what is made: files, links, and directories whether a member names them or not.
    After an error the directory holds what there was so far, links unchecked.
    """
    directory.mkdir()
    unpacking = _Unpacking(directory.resolve(), max_bytes, max_files)
    try:
        with gzip.open(archive) as decompressed:
            bounded = _Bounded(decompressed, max_bytes)
            # cast: tarfile asks for these three methods and no others.
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as tar:
                for count, member in enumerate(tar, start=1):
                    if count > max_files:
                        raise ArchiveUnusable(f"it has more than {max_files} members")
                    unpacking.add(tar, member)
            # To the end, where gzip's checksum tells a damaged archive from a whole one.
            while bounded.read(_CHUNK_BYTES):
                pass
        unpacking.link()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ArchiveUnusable("it is not a gzip-compressed tar archive, or damaged") from error
    except (ValueError, OverflowError) as error:
        # For numbers and names that no tar program writes.
        raise ArchiveUnusable("it is damaged") from error


class _Bounded:
    """The decompressed archive, for tarfile to read: neither long as a whole nor at once."""

    def __init__(self, file: gzip.GzipFile, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise ArchiveUnusable("it has a header of an absurd length")
        self._check(self._file.tell())
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        self._check(offset)
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, offset: int) -> None:
        # tar pads the end of an archive to a whole record.
        if offset > self._max_bytes + tarfile.RECORDSIZE:
            raise _too_large(self._max_bytes)


class _Unpacking:
    """One archive on its way into `root`."""

    def __init__(self, root: Path, max_bytes: int, max_files: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._written_bytes = 0
        self._made = 0
        self._hard_links: list[tuple[Path, Path]] = []
        self._symbolic_links: list[tuple[Path, str]] = []

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._root.joinpath(*_parts(member.name))
        if member.isdir():
            self._make_directory(path)
        elif path == self._root:
            raise ArchiveUnusable("its top directory is not a directory")
        elif member.isreg():
            self._write(path, tar.extractfile(member), is_executable=bool(member.mode & 0o100))
        elif member.issym():
            self._symbolic_links.append((path, member.linkname))
        elif member.islnk():
            self._hard_links.append((path, self._root.joinpath(*_parts(member.linkname))))
        else:
            raise ArchiveUnusable(f"{member.name!r} is neither a file, a directory nor a link")

    def link(self) -> None:
        """Make the links, now that no file can be written through them."""
        for path, target in self._hard_links:
            self._make_room(path)
            if not _is_regular(target):
                raise ArchiveUnusable(f"the link {self._named(path)} leads to no file in it")
            os.link(target, path)
        for path, text in self._symbolic_links:
            self._make_room(path)
            path.symlink_to(text)
        for path, _ in self._symbolic_links:
            try:
                target = path.resolve(strict=True)
            except (OSError, RuntimeError) as error:
                raise ArchiveUnusable(f"the link {self._named(path)} leads nowhere") from error
            if not target.is_relative_to(self._root):
                raise ArchiveUnusable(f"the link {self._named(path)} leads out of it")

    def _write(self, path: Path, source: IO[bytes] | None, *, is_executable: bool) -> None:
        if source is None:
            raise ArchiveUnusable(f"{self._named(path)} has no content")
        self._make_room(path)
        mode = 0o755 if is_executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with source, os.fdopen(os.open(path, flags, mode), "wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                self._written_bytes += len(chunk)
                if self._written_bytes > self._max_bytes:
                    raise _too_large(self._max_bytes)
                file.write(chunk)

    def _make_room(self, path: Path) -> None:
        """Make the parents of `path`, and let it replace a file or link of the same name."""
        self._make_directory(path.parent)
        self._count()
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise ArchiveUnusable(f"{self._named(path)} is both a directory and not")
        path.unlink()

    def _make_directory(self, path: Path) -> None:
        """Make `path` one part after the other; what is there must be a real directory."""
        here = self._root
        for part in path.relative_to(self._root).parts:
            here /= part
            try:
                here.mkdir(0o755)
                self._count()
            except FileExistsError:
                if not stat.S_ISDIR(here.lstat().st_mode):
                    raise ArchiveUnusable(
                        f"{self._named(here)} is both a directory and not"
                    ) from None

    def _count(self) -> None:
        self._made += 1
        if self._made > self._max_files:
            raise ArchiveUnusable(f"it has more than {self._max_files} files and directories")

    def _named(self, path: Path) -> str:
        return repr(str(path.relative_to(self._root)))


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name below the directory."""
    if name.startswith("/"):
        raise ArchiveUnusable(f"the name {name!r} is absolute")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ArchiveUnusable(f"the name {name!r} leads out of it")
    if len(parts) > _MAX_PARTS:
        raise ArchiveUnusable(
            f"the name {name[:_TOLD_CHARACTERS]!r}… is more than {_MAX_PARTS} directories deep"
        )
    return parts


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _too_large(max_bytes: int) -> ArchiveUnusable:
    return ArchiveUnusable(f"it unpacks to more than {max_bytes} bytes")
