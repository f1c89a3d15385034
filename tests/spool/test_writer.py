import errno
import itertools
import subprocess
import sys
import textwrap
import threading
import time
from typing import ClassVar

import msgspec
import pytest

from gnomon.settings import SpoolSettings
from gnomon.spool import segment
from gnomon.spool import writer as writer_module
from gnomon.spool.frames import Complete, Metrics
from gnomon.spool.incarnation import END_NAME, incarnations, is_alive, segments, size_bytes
from gnomon.spool.sealing import FrameOpener, FrameSeal
from gnomon.spool.segment import SegmentReader
from gnomon.spool.writer import SpoolWriter
from gnomon.testing import frames as build
from gnomon.testing.fake_disk import FakeDisk

FAST = SpoolSettings(flush_interval_s=0.001)
# Nothing is written before the writer is closed.
HELD = SpoolSettings(flush_interval_s=60.0)
KEY = bytes(range(32))


def _until(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.002)


def _read(directory):
    return [frame for found in segments(directory) for _, frame in SegmentReader(found.path)]


def test_what_was_appended_is_in_a_closed_segment_after_close(tmp_path):
    writer = SpoolWriter(tmp_path / "spool", "i1", HELD)
    written = [build.metrics(), build.exchange(), build.pair()]
    assert all(writer.append(frame) for frame in written)
    writer.close()
    assert [path.name for path in writer.directory.glob("0*")] == ["00000001.seg"]
    assert _read(writer.directory) == written
    assert writer.dropped == {}


def test_frames_can_be_read_from_the_open_segment(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", FAST)
    writer.append(build.pair())
    _until(lambda: _read(writer.directory) == [build.pair()])
    assert [found.closed for found in segments(writer.directory)] == [False]
    writer.close()


def test_more_frames_than_one_write_takes_keep_their_order(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    written = [build.pair(f"event-{number}") for number in range(1500)]
    for frame in written:
        writer.append(frame)
    writer.close()
    assert _read(writer.directory) == written


class NotedSeal(FrameSeal):
    """Notes in which thread it seals."""

    threads: ClassVar[set[str]] = set()

    def close(self, kind, payload):
        self.threads.add(threading.current_thread().name)
        return super().close(kind, payload)


def test_what_is_sealed_keeps_its_place_and_costs_the_caller_no_sealing(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    seal = NotedSeal(b"wrapped", KEY)
    written = [
        build.exchange("a", request_body=bytes(MIB)),
        build.pair("a"),
        build.exchange("b"),
        build.noise("b"),
        build.metrics(),
        build.exchange("c", request_body=bytes(MIB)),
        build.barrier(),
    ]
    for number, frame in enumerate(written):
        is_sealed = number not in (2, 4, 6)
        assert writer.append(frame, seal if is_sealed else None)
    writer.close()
    assert seal.threads == {"spool"}
    opener = FrameOpener({b"wrapped": KEY}.__getitem__)
    (found,) = segments(writer.directory)
    assert [frame for _, frame in SegmentReader(found.path, opener=opener)] == written


def test_what_waits_to_be_sealed_is_counted_as_what_it_will_be(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    seal = FrameSeal(b"wrapped", KEY)
    assert writer.append(build.pair(), seal)
    sealed_bytes = writer.waiting_bytes
    writer.close()
    assert writer.waiting_bytes == 0
    (found,) = segments(writer.directory)
    frames_bytes = found.path.stat().st_size - len(segment.FILE_HEAD)
    assert sealed_bytes == frames_bytes - segment.HEAD_BYTES
    # So the bound of the buffer is for what is sealed, too.
    for name, buffer_bytes, fit in (("i2", 2 * sealed_bytes, 2), ("i3", 2 * sealed_bytes - 1, 1)):
        settings = SpoolSettings(flush_interval_s=60.0, buffer_bytes=buffer_bytes)
        writer = SpoolWriter(tmp_path, name, settings)
        assert [writer.append(build.pair(), seal) for _ in range(3)].count(True) == fit
        writer.close()


def test_a_barrier_closes_its_segment(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    for frame in (build.pair(), build.barrier("b1"), build.barrier("b2"), build.metrics()):
        writer.append(frame)
    writer.close()
    by_segment = [
        [frame for _, frame in SegmentReader(found.path)] for found in segments(writer.directory)
    ]
    assert by_segment == [
        [build.pair(), build.barrier("b1")],
        [build.barrier("b2")],
        [build.metrics()],
    ]


def test_a_segment_closes_at_its_size(tmp_path):
    settings = SpoolSettings(flush_interval_s=60.0, segment_bytes=2000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    for number in range(30):
        writer.append(build.pair(f"event-{number}"))
    writer.close()
    sizes = [found.path.stat().st_size for found in segments(writer.directory)]
    assert len(sizes) > 1
    assert all(2000 <= size < 2300 for size in sizes[:-1])
    assert len(_read(writer.directory)) == 30


def test_a_segment_closes_at_its_age_without_further_frames(tmp_path):
    settings = SpoolSettings(flush_interval_s=0.001, segment_age_s=0.02)
    writer = SpoolWriter(tmp_path, "i1", settings)
    writer.append(build.pair())
    _until(lambda: [found.closed for found in segments(writer.directory)] == [True])
    writer.close()


def test_a_full_buffer_drops_exchanges_first_then_pairs_never_metrics_or_barriers(tmp_path):
    settings = SpoolSettings(flush_interval_s=60.0, buffer_bytes=4000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    exchanges = [writer.append(build.exchange(f"e{number}")) for number in range(40)]
    assert writer.waiting_bytes <= 3000
    pairs = [writer.append(build.pair(f"e{number}")) for number in range(40)]
    assert writer.waiting_bytes <= 4000
    assert not any(exchanges[exchanges.index(False) :])
    assert not any(pairs[pairs.index(False) :])
    assert pairs[0]
    assert all(writer.append(build.metrics()) for _ in range(40))
    assert writer.append(build.barrier())
    assert writer.dropped == {"exchange": exchanges.count(False), "pair": pairs.count(False)}
    writer.close()
    kept = exchanges.count(True) + pairs.count(True) + 41
    assert len(_read(writer.directory)) == kept
    assert writer.waiting_bytes == 0


def test_an_exchange_that_exceeds_the_buffer_is_taken_when_little_waits(tmp_path):
    settings = SpoolSettings(flush_interval_s=60.0, buffer_bytes=4000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    large = build.exchange("large", request_body=b"q" * 5000, response_body=b"a" * 5000)
    written = [build.metrics(), large]
    assert all(writer.append(frame) for frame in written)
    # One at a time, and it takes the room of no pair.
    assert not writer.append(large)
    assert not writer.append(build.exchange())
    pairs = [build.pair(f"e{number}") for number in range(10)]
    assert all(writer.append(frame) for frame in pairs)
    writer.close()
    assert writer.dropped == {"exchange": 2}
    assert _read(writer.directory) == written + pairs


def test_pairs_keep_their_bound_beside_a_large_exchange_and_after_it(tmp_path):
    settings = SpoolSettings(flush_interval_s=0.001, buffer_bytes=4000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    large = build.exchange("large", request_body=b"q" * 5000)
    for _ in range(3):
        _until(lambda: writer.waiting_bytes == 0)
        assert writer.append(large)
    _until(lambda: writer.waiting_bytes == 0)
    assert not writer.append(build.pair(production=build.answer(body=b"x" * 4000)))
    writer.close()


def test_a_full_directory_drops_exchanges_first_then_pairs_never_metrics_or_barriers(tmp_path):
    settings = SpoolSettings(flush_interval_s=0.001, max_bytes=8000)
    writer = SpoolWriter(tmp_path, "i1", settings)

    def append(make):
        taken = []
        for number in range(100):
            taken.append(writer.append(make(f"e{number}")))
            _until(lambda: writer.waiting_bytes == 0)
        assert taken[0]
        assert not any(taken[taken.index(False) :])
        return taken.count(False), size_bytes(writer.directory)

    exchanges, after_exchanges = append(build.exchange)
    assert 5500 < after_exchanges <= 6000
    pairs, after_pairs = append(build.pair)
    assert 7500 < after_pairs <= 8000
    assert all(writer.append(build.metrics()) for _ in range(10))
    assert writer.append(build.barrier())
    writer.close()
    assert writer.dropped == {"exchange": exchanges, "pair": pairs}
    assert len(_read(writer.directory)) == 200 - exchanges - pairs + 11


def test_what_waits_counts_for_the_directorys_bound(tmp_path):
    settings = SpoolSettings(flush_interval_s=60.0, max_bytes=8000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    for number in range(100):
        writer.append(build.exchange(f"e{number}"))
    writer.close()
    assert writer.dropped["exchange"] > 0
    assert size_bytes(writer.directory) <= 8000


def test_a_directory_that_was_collected_is_filled_again(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_MEASURE_S", 0.0)
    settings = SpoolSettings(flush_interval_s=0.001, max_bytes=8000, segment_bytes=1000)
    writer = SpoolWriter(tmp_path, "i1", settings)

    def append():
        taken = writer.append(build.exchange())
        _until(lambda: writer.waiting_bytes == 0)
        return taken

    _until(lambda: not append())
    for found in segments(writer.directory):
        if found.closed:
            found.path.unlink()
    _until(append)
    writer.close()


def test_room_that_writing_made_is_used_again(tmp_path):
    settings = SpoolSettings(flush_interval_s=0.001, buffer_bytes=4000)
    writer = SpoolWriter(tmp_path, "i1", settings)
    for number in range(200):
        _until(lambda: writer.waiting_bytes < 1000)
        assert writer.append(build.exchange(f"e{number}"))
    writer.close()
    assert len(_read(writer.directory)) == 200


@pytest.mark.slow
def test_a_disk_that_fails_for_a_while_loses_nothing_below_the_bound(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", FAST)
    away = tmp_path / "away"
    writer.directory.rename(away)
    written = [build.metrics(2), build.pair(), build.metrics(3), build.barrier()]
    for frame in written:
        assert writer.append(frame)
    _until(lambda: writer.disk_errors > 1)
    away.rename(writer.directory)
    _until(lambda: writer.waiting_bytes == 0)
    writer.close()
    read = _read(writer.directory)
    counted = [
        delta.counts["invocations"]
        for frame in read
        if isinstance(frame, Metrics)
        for delta in frame.deltas
    ]
    assert counted == [5]
    assert [frame for frame in read if not isinstance(frame, Metrics)] == written[1::2]
    assert read[-1] == build.barrier()


def test_a_disk_that_still_fails_at_close_does_not_stop_the_close(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    writer.append(build.pair())
    writer.directory.rename(tmp_path / "away")
    writer.close()
    assert writer.disk_errors > 0
    assert not (tmp_path / "away" / END_NAME).exists()


MIB = 1024**2


@pytest.fixture
def disk():
    return FakeDisk()


@pytest.fixture
def at_once(monkeypatch):
    """The disk is looked at, and tried again, all the time."""
    monkeypatch.setattr(writer_module, "_MEASURE_S", 0.0)
    monkeypatch.setattr(writer_module, "_RETRY_S", 0.0)


def test_little_free_space_drops_captures_then_pairs_and_never_metrics(tmp_path, disk, at_once):
    settings = SpoolSettings(flush_interval_s=0.001, min_free_bytes=100 * MIB)
    writer = SpoolWriter(tmp_path, "i1", settings, disk=disk)

    def is_kept(make):
        return writer.append(make())

    for free, captures, pairs in ((99, False, True), (49, False, False), (200, True, True)):
        disk.free = free * MIB
        _until(lambda captures=captures: is_kept(build.exchange) == captures)
        _until(lambda pairs=pairs: is_kept(build.pair) == pairs)
        assert writer.append(build.metrics())
        assert writer.append(build.barrier())
        if captures:
            assert writer.trouble == ""
        else:
            what = "captures are" if pairs else "captures and pairs are"
            assert writer.trouble == (
                f"Only {free} MiB are free on the disk of {tmp_path / 'i1'}, and {what} dropped "
                "and counted: free space there."
            )
    writer.close()
    read = _read(writer.directory)
    assert len([frame for frame in read if isinstance(frame, Metrics)]) == 3
    assert writer.dropped.keys() == {"exchange", "pair"}


def test_space_that_is_back_is_seen_without_a_further_frame(tmp_path, disk, at_once):
    writer = SpoolWriter(tmp_path, "i1", FAST, disk=disk)
    disk.free = 0
    _until(lambda: not writer.append(build.pair()))
    disk.free = 1024 * MIB
    _until(lambda: writer.trouble == "")
    writer.close()


@pytest.mark.parametrize(
    ("room", "failure", "said"),
    [
        *((room, errno.ENOSPC, "No space left on device") for room in (0, 10, 300, 1000)),
        (0, errno.EIO, "Input/output error"),
        (300, errno.EIO, "Input/output error"),
    ],
)
def test_a_disk_that_fills_up_or_fails_tears_no_frame_that_stays_and_loses_none(
    tmp_path, disk, at_once, room, failure, said
):
    writer = SpoolWriter(tmp_path, "i1", FAST, disk=disk)
    disk.room, disk.failure = room, failure
    for number in range(20):
        assert writer.append(build.pair(f"event-{number}"))
    _until(lambda: writer.disk_errors > 1)
    assert f"cannot be written ({said}): see to its disk" in writer.trouble
    whole = _read(writer.directory)
    assert whole == [build.pair(f"event-{number}") for number in range(len(whole))]
    disk.room = None
    _until(lambda: writer.waiting_bytes == 0)
    _until(lambda: writer.trouble == "")
    writer.close()
    assert _read(writer.directory) == [build.pair(f"event-{number}") for number in range(20)]
    assert (writer.dropped, writer.given_up) == ({}, 0)


def test_a_torn_frame_that_cannot_be_cut_ends_its_segment(tmp_path, disk, at_once, monkeypatch):
    writer = SpoolWriter(tmp_path, "i1", FAST, disk=disk)
    assert writer.append(build.pair("event-0"))
    _until(lambda: writer.waiting_bytes == 0)

    def refuse(*_):
        raise OSError("refused")

    monkeypatch.setattr(writer_module.os, "ftruncate", refuse)
    disk.room = 20
    assert writer.append(build.pair("event-1"))
    _until(lambda: writer.disk_errors > 1)
    disk.room = None
    _until(lambda: writer.waiting_bytes == 0)
    writer.close()
    assert len(segments(writer.directory)) == 2
    assert _read(writer.directory) == [build.pair("event-0"), build.pair("event-1")]


def test_metrics_of_a_full_disk_are_added_up_and_what_is_left_at_the_end_is_told(
    tmp_path, disk, at_once
):
    settings = SpoolSettings(flush_interval_s=0.001, buffer_bytes=4000)
    writer = SpoolWriter(tmp_path, "i1", settings, disk=disk)
    disk.room = 0
    dropped = 0
    for _ in range(200):
        assert writer.append(build.metrics(1))
        dropped += not writer.append(build.pair())
    assert writer.dropped == {"pair": dropped}
    _until(lambda: writer.waiting_bytes < 5000)
    writer.close()
    # One sum of metrics, and the pairs that were taken.
    assert writer.given_up == 1 + 200 - dropped


def test_of_words_on_what_is_complete_a_full_disk_leaves_the_last(tmp_path, disk, at_once):
    writer = SpoolWriter(tmp_path, "i1", FAST, disk=disk)
    disk.room = 0
    for second in range(100):
        assert writer.append(build.pair())
        assert writer.append(Complete(float(second)))
    _until(lambda: writer.waiting_bytes < 100 * len(msgspec.msgpack.encode(build.pair())) + 50)
    disk.room = 10**9
    _until(lambda: not writer.waiting_bytes)
    writer.close()
    assert _read(writer.directory) == [build.pair()] * 100 + [Complete(99.0)]


def test_what_cannot_be_sealed_now_is_told_and_sealed_later(tmp_path, at_once):
    class Failing(FrameSeal):
        fails = True

        def close(self, kind, payload):
            if self.fails:
                raise MemoryError("no room")
            return super().close(kind, payload)

    writer = SpoolWriter(tmp_path, "i1", FAST)
    seal = Failing(b"wrapped", KEY)
    assert writer.append(build.pair(), seal)
    _until(lambda: "MemoryError: no room" in writer.trouble)
    seal.fails = False
    _until(lambda: not writer.waiting_bytes)
    assert writer.trouble == ""
    writer.close()
    opener = FrameOpener({b"wrapped": KEY}.__getitem__)
    (found,) = segments(writer.directory)
    assert [frame for _, frame in SegmentReader(found.path, opener=opener)] == [build.pair()]


@pytest.mark.slow
def test_a_write_that_the_disk_takes_in_part_is_finished_later(tmp_path):
    # A limit of the file's size makes the kernel write short, then refuse, as a full disk does.
    script = textwrap.dedent("""
        import resource, sys, time
        from pathlib import Path
        from gnomon.settings import SpoolSettings
        from gnomon.spool.writer import SpoolWriter
        from gnomon.testing import frames as build
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        writer = SpoolWriter(Path(sys.argv[1]), "i1", SpoolSettings(flush_interval_s=0.05))
        for number in range(20):
            assert writer.append(build.pair(f"event-{number}"))
        deadline = time.monotonic() + 10
        while not writer.disk_errors and time.monotonic() < deadline:
            time.sleep(0.005)
        assert writer.disk_errors
        size = (writer.directory / "00000001.open").stat().st_size
        assert 500 < size <= 1000, size
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.close()
    """)
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, timeout=60)
    assert _read(tmp_path / "i1") == [build.pair(f"event-{number}") for number in range(20)]


def test_the_lock_tells_whether_the_writer_lives(tmp_path):
    writer = SpoolWriter(tmp_path, "i1", HELD)
    assert is_alive(writer.directory)
    assert not (writer.directory / END_NAME).exists()
    writer.close()
    assert not is_alive(writer.directory)
    assert (writer.directory / END_NAME).exists()


def test_an_incarnation_never_writes_into_the_directory_of_another(tmp_path):
    first = SpoolWriter(tmp_path, "i1", HELD)
    with pytest.raises(OSError, match="not empty"):
        SpoolWriter(tmp_path, "i1", HELD)
    first.close()


def test_a_directory_that_is_not_claimed_yet_is_passed_over(tmp_path):
    (tmp_path / ".i2").mkdir()
    writer = SpoolWriter(tmp_path, "i1", HELD)
    assert incarnations(tmp_path) == [writer.directory]
    writer.close()


def test_a_segment_with_a_later_one_beside_it_counts_as_closed(tmp_path):
    for number in (1, 2):
        (tmp_path / segment.segment_name(number, closed=False)).touch()
    assert [(found.number, found.closed) for found in segments(tmp_path)] == [
        (1, True),
        (2, False),
    ]


def test_the_writer_loads_no_third_party_library_but_msgspec():
    script = (
        "import sys, gnomon.spool.writer\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*(loaded - set(sys.stdlib_module_names) - {'gnomon', 'msgspec'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    extra = set(done.stdout.split())
    assert not extra & {"numpy", "sqlalchemy", "fastapi", "botocore", "obstore", "structlog"}


@pytest.mark.parametrize(
    ("fsync", "left"),
    [("never", []), ("segment", ["closed"]), ("batch", ["closed", "open"])],
)
def test_a_power_cut_takes_what_the_policy_says(tmp_path, fsync, left):
    disk = FakeDisk()
    settings = SpoolSettings(flush_interval_s=0.001, fsync=fsync)
    writer = SpoolWriter(tmp_path / "spool", "i1", settings, disk=disk)
    closed, opened = [build.pair(), build.barrier()], [build.metrics(), build.exchange()]
    for frame in closed + opened:
        writer.append(frame)
    _until(lambda: _read(writer.directory) == closed + opened)
    copies = (tmp_path / f"copy-{number}" for number in itertools.count())

    def left_by_a_cut():
        copy = next(copies)
        disk.copy_after_power_cut(tmp_path / "spool", copy)
        return [frame for directory in incarnations(copy) for frame in _read(directory)]

    of = {"closed": closed, "open": opened}
    _until(lambda: left_by_a_cut() == [frame for part in left for frame in of[part]])
    writer.close()


def test_a_disk_that_fails_to_sync_is_told_and_what_was_written_stays(tmp_path):
    class Unsafe(FakeDisk):
        def sync(self, file):
            raise OSError(errno.EIO, "Input/output error")

    settings = SpoolSettings(flush_interval_s=0.001, fsync="batch")
    writer = SpoolWriter(tmp_path, "i1", settings, disk=Unsafe())
    writer.append(build.pair())
    _until(lambda: "Input/output error" in writer.trouble)
    writer.close()
    assert writer.disk_errors > 0
    assert _read(writer.directory) == [build.pair()]
