"""The spool's documented format is the one that the code writes."""

import re
from pathlib import Path

import msgspec
import pytest

from gnomon.settings import MIB, RouterSettings, SpoolSettings
from gnomon.spool import frames, segment
from gnomon.stats import histogram

DOCUMENT = (Path(__file__).parents[2] / "docs" / "spool-format.md").read_text()
STRUCTURES = {
    "metrics": frames.Metrics,
    "(a delta)": frames.MetricDelta,
    "exchange": frames.Exchange,
    "pair": frames.Pair,
    "(an answer)": frames.Answer,
    "barrier": frames.Barrier,
    "noise": frames.Noise,
    "complete": frames.Complete,
}


def rows_after(heading):
    """Cells of the table whose first row is `heading`."""
    table = DOCUMENT.split(f"| {heading} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_head_of_a_file():
    fields = rows_after("bytes | in the file's head | value")
    magic, version = (value.strip("`") for _, _, value in fields)
    head = magic.encode() + int(version).to_bytes(int(fields[1][0]), "little")
    assert [int(row[0]) for row in fields] == [8, 4]
    assert head == segment.FILE_HEAD


def test_the_head_of_a_frame():
    fields = rows_after("bytes | in a frame's head | value")
    assert [int(row[0]) for row in fields] == [1, 1, 4, 4]
    assert sum(int(row[0]) for row in fields) == segment.HEAD_BYTES
    assert int(fields[0][2]) == segment.FRAME_VERSION
    head = segment.frame_head(segment.PAIR, b"some payload")
    assert head[:6] == bytes([segment.FRAME_VERSION, segment.PAIR, 12, 0, 0, 0])


def test_the_kinds():
    documented = {name: int(kind) for kind, name, _ in rows_after("kind | name | what it says")}
    tags = {msgspec.inspect.type_info(cls).tag: kind for cls, kind in segment.KIND_OF.items()}
    assert documented == tags


def test_the_kinds_of_sealed_frames():
    tags = {kind: msgspec.inspect.type_info(cls).tag for cls, kind in segment.KIND_OF.items()}
    documented = {name: int(kind) for kind, name in rows_after("sealed kind | what was sealed")}
    assert documented == {tags[kind]: sealed for kind, sealed in segment.SEALED_OF.items()}
    said = re.search(r"the kind of what was sealed \((.*?), one byte\)", DOCUMENT)[1]
    assert re.findall(r"\d+", said) == [str(kind) for kind in segment.SEALED_OF]


def test_the_fields_of_each_structure():
    documented = {name: said.split(", ") for name, said in rows_after("structure | fields")}
    assert documented == {
        name: list(structure.__struct_fields__) for name, structure in STRUCTURES.items()
    }


def test_the_names_of_segments():
    for closed in (False, True):
        assert f"`{segment.segment_name(1, closed=closed)}`" in DOCUMENT


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (r"reaches (\d+) MiB", SpoolSettings.segment_bytes / MIB),
        (r"when it is (\d+) s old", SpoolSettings.segment_age_s),
        (r"at most (\d+) ms after", SpoolSettings.flush_interval_s * 1000),
        (r"a buffer of (\d+) MiB", SpoolSettings.buffer_bytes / MIB),
        (r"first (\d+) KiB", RouterSettings.pair_body_bytes / 1024),
        (r"buckets below (\d+) hold", histogram._EXACT),
        (r"two is cut into\s+(\d+)", 1 << histogram._STEP_BITS),
    ],
)
def test_the_bounds(said, value):
    found = re.search(said, DOCUMENT)
    assert found
    assert int(found[1]) == value
