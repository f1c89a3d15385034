import pytest

from gnomon.cli.log_lines import LoggedInstance, Tail, merged, shown

NOW_S = 10_000.0


def an_instance(id_, status="InService", variant="v", ended_at_s=None, created_at_s=0.0):
    return LoggedInstance(id_, variant, status, "", created_at_s, ended_at_s)


def ended(id_, seconds_ago, variant="v"):
    return an_instance(id_, "Failed", variant, NOW_S - seconds_ago)


@pytest.mark.parametrize(
    ("instances", "ids"),
    [
        ([], ""),
        ([an_instance("a"), an_instance("b")], "ab"),
        # What ended long ago is old news beside one that lives.
        ([ended("a", 3601), an_instance("b")], "b"),
        ([ended("a", 3599), an_instance("b")], "ab"),
        # Without one, it is the news.
        ([ended("a", 9000), ended("b", 8000)], "b"),
        # One that fails again and again does not hide the rest.
        ([*(ended(c, 100 - i) for i, c in enumerate("abcde")), an_instance("f")], "cdef"),
        ([ended("a", 9, "w"), *(ended(c, 8) for c in "bcde"), an_instance("f")], "acdef"),
    ],
)
def test_living_instances_are_shown_and_the_last_that_ended(instances, ids):
    assert "".join(instance.id for instance in shown(instances, NOW_S)) == ids


def test_logs_are_merged_by_the_times_in_them_and_keep_their_own_order():
    first = an_instance("a", created_at_s=0.0)
    second = an_instance("b", created_at_s=5.0)
    parts = [
        (first, [b"1970-01-01T00:00:01Z x", b" y", b"1970-01-01 00:00:09,5+00:00 z"]),
        (second, [b"plain", b"1970-01-01T00:00:03Z late", b"1970-01-01T00:00:20.000Z end"]),
    ]
    assert [instance.id + line.split()[-1].decode() for instance, line in merged(parts)] == [
        "ax",
        "ay",
        "bplain",
        "blate",
        "az",
        "bend",
    ]


def test_a_time_that_is_none_is_text():
    assert list(merged([(an_instance("a"), [b"2026-99-99T00:00:00Z x"])]))


@pytest.mark.parametrize(
    ("text", "count", "last", "more"),
    [
        (b"", 5, [], []),
        (b"a\nb\nc\n", 2, [b"b", b"c"], []),
        (b"a\nb\nc\n", 9, [b"a", b"b", b"c"], []),
        (b"a\n\n", 2, [b"a", b""], []),
        (b"a\nb", 9, [b"a"], [b"b"]),
        (b"a", 9, [], [b"a"]),
        (b"a\nb\n", 0, [], []),
        # Longer than one block.
        (b"x" * 300_000 + b"\n" + b"y" * 300_000 + b"\nz\n", 2, [b"y" * 300_000, b"z"], []),
    ],
)
def test_the_last_lines_then_what_is_left(tmp_path, text, count, last, more):
    path = tmp_path / "log"
    path.write_bytes(text)
    tail = Tail(path)
    assert tail.last(count) == last
    assert tail.more() == []
    assert tail.more(is_final=True) == more


def test_a_log_is_read_on_line_by_line(tmp_path):
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.more() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert tail.more() == [b"one"]
        file.write(b"o\nthree\n")
        assert tail.more() == [b"two", b"three"]
        assert tail.more() == []


def test_a_line_without_end_is_passed_on_in_pieces(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 300_000)
    tail = Tail(path)
    assert b"".join(tail.more()) == b"x" * (256 * 1024)
    assert b"".join(tail.more(is_final=True)) == b"x" * (300_000 - 256 * 1024)


def test_a_log_that_was_emptied_is_read_from_its_start(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"old text\n")
    tail = Tail(path)
    tail.more()
    path.write_bytes(b"new\n")
    assert tail.more() == [b"new"]
