import struct
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.settings import SpoolSettings
from gnomon.spool import segment
from gnomon.spool.frames import Answer, Barrier, Exchange, MetricDelta, Metrics, Pair
from gnomon.spool.incarnation import segments
from gnomon.spool.sealing import FrameOpener, FrameSeal
from gnomon.spool.segment import FILE_HEAD, SegmentReader, SegmentUnreadable, frame_head
from gnomon.spool.writer import SpoolWriter
from gnomon.testing import frames as build

KEY = bytes(range(32))

names = st.text(max_size=8)
times = st.floats(0, 2**32)
bodies = st.binary(max_size=50)
answers = st.builds(
    Answer,
    instance_id=names,
    failure=names,
    status=st.integers(0, 599),
    latency_us=st.integers(0, 2**40),
    content_type=st.none() | names,
    body=bodies,
    body_bytes=st.integers(0, 2**40),
    sha256=st.none() | bodies,
)
counts = st.dictionaries(st.integers(0, 3000), st.integers(0, 2**40), max_size=3)
deltas = st.builds(
    MetricDelta,
    *[names] * 4,
    minute=st.integers(0, 2**31),
    counts=st.dictionaries(names, times, max_size=3),
    histograms=st.dictionaries(names, counts, max_size=2),
)
frames = st.one_of(
    st.builds(Metrics, st.lists(deltas, max_size=3)),
    st.builds(
        Exchange,
        *[names] * 4,
        inference_id=st.none() | names,
        at_s=times,
        status=st.integers(0, 599),
        request_content_type=st.none() | names,
        request_body=st.none() | bodies,
        response_content_type=st.none() | names,
        response_body=st.none() | bodies,
    ),
    st.builds(Pair, *[names] * 5, at_s=times, production=answers, shadow=answers),
    st.builds(Barrier, names, times),
)


def _encode(frame):
    payload = msgspec.msgpack.encode(frame)
    return frame_head(segment.KIND_OF[type(frame)], payload) + payload


def _write(path, *written):
    path.write_bytes(FILE_HEAD + b"".join(map(_encode, written)))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("spool") / "00000001.open"


@settings(deadline=None)
@given(st.lists(frames, max_size=6))
def test_frames_come_back_as_they_were_written(path, written):
    reader = SegmentReader(_write(path, *written))
    assert [frame for _, frame in reader] == written
    assert reader.offset == path.stat().st_size
    assert reader.torn_bytes == 0


@settings(deadline=None)
@given(st.lists(frames, min_size=1, max_size=6), st.data())
def test_reading_goes_on_from_any_offset_that_a_reader_gave(path, written, data):
    _write(path, *written)
    offsets = [offset for offset, _ in SegmentReader(path)]
    index = data.draw(st.integers(0, len(written) - 1))
    assert [frame for _, frame in SegmentReader(path, offsets[index])] == written[index + 1 :]


def test_a_file_cut_at_any_byte_gives_the_whole_frames_before_the_cut(path):
    written = [build.metrics(), build.exchange(), build.pair(), build.noise(), build.barrier()]
    whole = _write(path, *written).read_bytes()
    ends = [offset for offset, _ in SegmentReader(path)]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        reader = SegmentReader(path)
        read = [frame for _, frame in reader]
        assert read == written[: sum(end <= cut for end in ends)]
        assert reader.torn_bytes == cut - reader.offset
        assert bool(reader.torn_bytes) == (cut not in {0, len(FILE_HEAD), *ends})
        assert reader.offset == max([0, *(end for end in (len(FILE_HEAD), *ends) if end <= cut)])


def test_a_byte_that_changed_anywhere_in_the_last_frame_tears_it(path):
    first, last = build.metrics(), build.pair()
    whole = _write(path, first, last).read_bytes()
    for position in range(len(whole) - len(_encode(last)), len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        reader = SegmentReader(path)
        assert [frame for _, frame in reader] == [first]
        assert reader.torn_bytes == len(_encode(last))


def test_zeros_behind_the_last_frame_are_a_torn_tail(path):
    whole = _write(path, build.metrics()).read_bytes()
    path.write_bytes(whole + bytes(100))
    reader = SegmentReader(path)
    assert len(list(reader)) == 1
    assert reader.torn_bytes == 100


def test_a_file_of_zeros_is_torn_as_a_whole(path):
    # What a power cut may leave: a length without content.
    path.write_bytes(bytes(4096))
    reader = SegmentReader(path)
    assert list(reader) == []
    assert reader.torn_bytes == 4096


def test_only_the_wanted_kinds_are_given_and_the_offset_covers_all(path):
    _write(path, build.exchange(), build.pair(), build.exchange())
    reader = SegmentReader(path, kinds={segment.PAIR})
    assert [frame for _, frame in reader] == [build.pair()]
    assert reader.offset == path.stat().st_size


def test_sealed_frames_are_read_as_the_others_are_and_the_offset_covers_them(path):
    writer = SpoolWriter(path.parent / "spool", "sealed", SpoolSettings())
    written = [build.exchange(), build.noise(), build.pair(), build.barrier()]
    seal = FrameSeal(b"wrapped", KEY)
    for frame in written:
        writer.append(frame, None if isinstance(frame, Barrier) else seal)
    writer.close()
    (found,) = segments(writer.directory)
    opener = FrameOpener({b"wrapped": KEY}.__getitem__)
    assert [frame for _, frame in SegmentReader(found.path, opener=opener)] == written
    reader = SegmentReader(found.path, kinds={segment.PAIR}, opener=opener)
    assert [frame for _, frame in reader] == [build.pair()]
    assert reader.offset == found.path.stat().st_size
    # Whoever wants no sealed frame needs no key.
    assert len(list(SegmentReader(found.path, kinds={segment.BARRIER}))) == 1
    other = FrameOpener(lambda _: bytes(32))
    for unable in (None, other):
        with pytest.raises(SegmentUnreadable, match="sealed"):
            list(SegmentReader(found.path, opener=unable))


def test_all_that_holds_requests_or_answers_can_be_sealed():
    """A new kind of frame has to say which it is."""
    without = {segment.METRICS, segment.BARRIER, segment.COMPLETE}
    assert segment.SEALED_OF.keys() == set(segment.KIND_OF.values()) - without
    assert not set(segment.SEALED_OF.values()) & set(segment.KIND_OF.values())


def test_a_segment_renamed_since_it_was_listed_is_found(path):
    _write(path, build.pair())
    path.rename(path.with_suffix(".seg"))
    assert [frame for _, frame in SegmentReader(path)] == [build.pair()]


def test_a_file_that_is_no_segment_is_an_error(path):
    path.write_bytes(b"something else entirely")
    with pytest.raises(SegmentUnreadable, match="at byte 0"):
        list(SegmentReader(path))


@pytest.mark.parametrize(("version", "kind"), [(2, 1), (1, 10)])
def test_a_whole_frame_of_an_unknown_format_is_an_error(path, version, kind):
    payload = b"later"
    checked = struct.pack("<BBI", version, kind, len(payload))
    checksum = struct.pack("<I", zlib.crc32(checked + payload))
    path.write_bytes(FILE_HEAD + checked + checksum + payload)
    with pytest.raises(SegmentUnreadable, match=f"version {version} and kind {kind}"):
        list(SegmentReader(path))


def test_a_whole_frame_whose_payload_is_something_else_is_an_error(path):
    payload = msgspec.msgpack.encode(["metrics", 5])
    path.write_bytes(FILE_HEAD + frame_head(segment.METRICS, payload) + payload)
    with pytest.raises(SegmentUnreadable):
        list(SegmentReader(path))
