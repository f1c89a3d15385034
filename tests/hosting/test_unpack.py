"""What may be in a model archive, and what may not."""

import contextlib
import gzip
import io
import os
import random
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.hosting.unpack import ArchiveUnusable, unpack

MAX_BYTES = 1_000_000
MAX_FILES = 100


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def file(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, size=len(content), **fields), content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target), b""


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return link(name, target, tarfile.LNKTYPE)


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(tmp_path: Path, content: bytes, **limits: int) -> Path:
    (tmp_path / "archive").write_bytes(content)
    directory = tmp_path / "model"
    unpack(
        tmp_path / "archive",
        directory,
        limits.get("max_bytes", MAX_BYTES),
        limits.get("max_files", MAX_FILES),
    )
    return directory


def test_files_and_directories(tmp_path):
    directory = unpacked(
        tmp_path,
        tar_gz(
            (entry("./", type=tarfile.DIRTYPE, mode=0o755), b""),
            file("./model.joblib", b"weights"),
            file("code/deep/inference.py", b"code"),
            (entry("empty", type=tarfile.DIRTYPE), b""),
        ),
    )

    assert (directory / "model.joblib").read_bytes() == b"weights"
    assert (directory / "code/deep/inference.py").read_bytes() == b"code"
    assert (directory / "empty").is_dir()


def test_a_large_file_is_whole(tmp_path):
    content = random.Random(1).randbytes(3_000_000)

    directory = unpacked(tmp_path, tar_gz(file("large", content)), max_bytes=4_000_000)

    assert (directory / "large").read_bytes() == content


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o4755, 0o755), (0o2644, 0o644), (0o600, 0o644), (0o777, 0o755)]
)
def test_of_the_mode_only_execution_is_kept(tmp_path, mode, kept):
    umask = os.umask(0)
    try:
        directory = unpacked(tmp_path, tar_gz(file("file", mode=mode)))
    finally:
        os.umask(umask)

    assert stat.S_IMODE((directory / "file").stat().st_mode) == kept


def test_links_within_are_kept(tmp_path):
    directory = unpacked(
        tmp_path,
        tar_gz(
            link("latest", "versions/1/weights"),
            link("versions/current", "1"),
            file("versions/1/weights", b"w"),
            hard("again", "versions/1/weights"),
        ),
    )

    assert (directory / "latest").read_bytes() == b"w"
    assert (directory / "versions/current/weights").read_bytes() == b"w"
    assert (directory / "again").read_bytes() == b"w"


def test_the_later_of_two_files_of_one_name_wins(tmp_path):
    directory = unpacked(tmp_path, tar_gz(file("file", b"first"), file("file", b"second")))

    assert (directory / "file").read_bytes() == b"second"


EVIL = {
    "an absolute name": [file("/etc/evil")],
    "a name that climbs": [file("../evil")],
    "a name that climbs within": [file("a/../../evil")],
    "a directory that climbs": [(entry("../evil", type=tarfile.DIRTYPE), b"")],
    "an absolute link": [link("evil", "/etc")],
    "a link that climbs": [link("evil", "../..")],
    "a link to nothing": [link("evil", "nothing")],
    "links in a circle": [link("a", "b"), link("b", "a")],
    "a chain of links that climbs": [
        (entry("d", type=tarfile.DIRTYPE), b""),
        link("a", "d"),
        link("b", "a/../.."),
    ],
    "a file through a link": [link("out", "/tmp"), file("out/evil")],
    "a file through a link within": [link("out", "."), file("out/evil")],
    "a link under a link": [link("out", "."), link("out/in", "..")],
    "a hard link that climbs": [hard("evil", "../archive")],
    "an absolute hard link": [hard("evil", "/etc/passwd")],
    "a hard link to nothing": [hard("evil", "nothing")],
    "a hard link to a link": [link("passwd", "/etc/passwd"), hard("evil", "passwd")],
    "a hard link to a directory": [(entry("d", type=tarfile.DIRTYPE), b""), hard("evil", "d")],
    "a fifo": [(entry("evil", type=tarfile.FIFOTYPE), b"")],
    "a character device": [(entry("evil", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b"")],
    "a block device": [(entry("evil", type=tarfile.BLKTYPE), b"")],
    "an unknown kind": [(entry("evil", type=b"Z"), b"")],
    "a file below a file": [file("a"), file("a/b")],
    "a file in a directory's place": [file("a/b"), file("a")],
    "a top that is a link": [link(".", "/tmp")],
    "a top that is a file": [file(".")],
    "too much in all": [file("a", bytes(600_000)), file("b", bytes(600_000))],
    "too much at once": [file("a", bytes(MAX_BYTES + 1))],
    "too many": [file(str(number)) for number in range(MAX_FILES + 1)],
}


@pytest.mark.parametrize("members", EVIL.values(), ids=EVIL.keys())
def test_an_evil_archive_is_refused(tmp_path, members):
    before = sorted(tmp_path.parent.iterdir())

    with pytest.raises(ArchiveUnusable):
        unpacked(tmp_path, tar_gz(*members))

    assert sorted(tmp_path.parent.iterdir()) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["archive", "model"]


def header_claiming(size: int, kind: bytes) -> bytes:
    header = bytearray(entry("name", type=kind).tobuf())
    header[124:136] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


DAMAGED = {
    "empty": b"",
    "text": b"this is not an archive at all, only text",
    "gzip of text": gzip.compress(b"only text" * 200),
    "cut": tar_gz(file("a", random.Random(1).randbytes(5000)))[:2000],
    "a plain tar": gzip.decompress(tar_gz(file("a"))),
    "a wrong checksum": tar_gz(file("a"))[:-8] + bytes(8),
    "a long name that is absurd": gzip.compress(header_claiming(2**32 - 1, b"L") + bytes(1024)),
    "extended headers that are absurd": gzip.compress(
        header_claiming(2**32 - 1, b"x") + bytes(1024)
    ),
    "a file that is not all there": gzip.compress(header_claiming(100_000, b"0") + bytes(1024)),
    "a file larger than the bound": gzip.compress(header_claiming(2**32 - 1, b"0") + bytes(1024)),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_archive_is_refused(tmp_path, content):
    with pytest.raises(ArchiveUnusable):
        unpacked(tmp_path, content)


def test_an_empty_archive_is_an_empty_model(tmp_path):
    assert list(unpacked(tmp_path, tar_gz()).iterdir()) == []


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path):
    bomb = tar_gz(file("zeros", bytes(50_000_000)))
    assert len(bomb) < 100_000

    with pytest.raises(ArchiveUnusable, match="more than 1000000 bytes"):
        unpacked(tmp_path, bomb)

    assert (tmp_path / "model" / "zeros").stat().st_size <= MAX_BYTES


@pytest.mark.parametrize(
    "members",
    [
        [file(f"{top}/" + "a/" * 40 + "f") for top in range(3)],
        [link(f"{top}/" + "a/" * 40 + "l", "f") for top in range(3)],
        [(entry(f"{top}/" + "a/" * 40, type=tarfile.DIRTYPE), b"") for top in range(3)],
    ],
    ids=["files", "links", "directories"],
)
def test_directories_that_no_member_names_count_as_files(tmp_path, members):
    with pytest.raises(ArchiveUnusable, match="more than 100 files and directories"):
        unpacked(tmp_path, tar_gz(*members))

    assert sum(1 for _ in (tmp_path / "model").rglob("*")) <= MAX_FILES + 1


def test_an_archive_may_have_as_many_files_and_directories_as_allowed(tmp_path):
    members = [file(f"a/b/{number}") for number in range(3)]
    unpacked(tmp_path, tar_gz(*members), max_files=5)
    with pytest.raises(ArchiveUnusable, match="more than 4 files and directories"):
        (tmp_path / "again").mkdir()
        unpacked(tmp_path / "again", tar_gz(*members), max_files=4)


def test_a_tree_may_be_deep_and_not_abysmal(tmp_path):
    unpacked(tmp_path, tar_gz(file("a/" * 99 + "f")))
    (tmp_path / "again").mkdir()
    with pytest.raises(ArchiveUnusable, match="more than 100 directories deep"):
        unpacked(tmp_path / "again", tar_gz(file("a/" * 100 + "f")))


def test_a_header_is_not_read_whatever_its_length(tmp_path):
    size = 8_000_000
    long_name = header_claiming(size, b"L") + bytes(size + 1024)

    with pytest.raises(ArchiveUnusable, match="absurd"):
        unpacked(tmp_path, gzip.compress(long_name), max_bytes=100_000_000)


def test_headers_count_as_bytes(tmp_path):
    size = 512 * 1024
    start = b"%d comment=" % size
    comment = header_claiming(size, b"g") + start + b"x" * (size - len(start) - 1) + b"\n"

    with pytest.raises(ArchiveUnusable, match="more than 1000000 bytes"):
        unpacked(tmp_path, gzip.compress(comment * 20 + bytes(1024)))


def test_holes_count_as_bytes(tmp_path):
    # GNU's sparse format: one block of data stands for a file of 100 MB.
    header = bytearray(entry("hole", type=tarfile.GNUTYPE_SPARSE, size=0).tobuf(tarfile.GNU_FORMAT))
    header[386 : 386 + 24] = b"%011o\0%011o\0" % (99_999_999, 1)
    header[483:495] = b"%011o\0" % 100_000_000
    header[124:136] = b"%011o\0" % 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)

    with pytest.raises(ArchiveUnusable, match="more than"):
        unpacked(tmp_path, gzip.compress(bytes(header) + bytes(512) + bytes(1024)))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_gets_anything_out(tmp_path_factory, data):
    """Whatever bytes are changed: unpacked within, or refused."""
    tmp_path = tmp_path_factory.mktemp("damage")
    plain = bytearray(
        gzip.decompress(tar_gz(file("a", b"x" * 600), link("b", "a"), hard("c", "a"), file("d/e")))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 4096))
        plain[position] = data.draw(st.integers(0, 255))
        header = position // 512 * 512
        if data.draw(st.booleans()):
            # With a header's checksum put right, or the damage is seen at once.
            block = plain[header : header + 512]
            block[148:156] = b" " * 8
            plain[header + 148 : header + 156] = b"%06o\0 " % sum(block)
    # OSError: a name that the file system cannot have.
    with contextlib.suppress(ArchiveUnusable, OSError):
        unpacked(tmp_path, gzip.compress(bytes(plain), 1))

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["archive", "model"]
    root = (tmp_path / "model").resolve()
    for path in root.rglob("*"):
        assert path.is_symlink() or path.resolve().is_relative_to(root)
