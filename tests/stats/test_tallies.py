import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.stats import tallies
from gnomon.stats.tallies import Tally, Worst


def tally(*pairs):
    found = Tally()
    for number, paths in enumerate(pairs):
        found.add(paths, f"event-{number:05}")
    return found


def times(found):
    return {path: counted.times for path, counted in found.paths.items()}


def test_a_path_counts_each_pair_that_differs_there():
    found = tally(["/a", "/b"], ["/a"], ["/a", "/a"])
    assert times(found) == {"/a": 3, "/b": 1}
    assert found.sets == {"/a\n/b": 1, "/a": 2}


def test_examples_are_the_first_ids_whatever_the_order():
    found = Tally()
    for number in (5, 3, 9, 1, 7):
        found.add(["/a"], f"event-{number}")
    assert found.paths["/a"].examples == ["event-1", "event-3", "event-5"]


def test_pairs_that_differ_only_where_it_is_ignored_are_left_out():
    found = tally(["/at"], ["/at", "/label"], ["/label"])
    assert found.pairs_outside(["/at"]) == 2
    assert found.pairs_outside(["/at", "/label"]) == 0


def test_too_many_paths_are_summed_up_at_a_smaller_depth():
    many = tallies.MOST_PATHS + 1
    found = tally(*[[f"/users/{n}/name", "/at"] for n in range(many)])
    assert times(found) == {"/users/…": many, "/at": many}


def test_too_many_paths_without_depth_become_one():
    many = tallies.MOST_PATHS + 1
    found = tally(*[[f"/{n}"] for n in range(many)])
    assert times(found) == {"(anything)": many}


def test_too_many_combinations_are_given_up():
    found = tally(*[[f"/{n}"] for n in range(tallies.MOST_SETS + 1)])
    assert found.sets is None
    assert found.pairs_outside(["/1"]) is None


def test_merging_what_was_cut_cuts_and_what_was_given_up_gives_up():
    many = tally(*[[f"/users/{n}/name"] for n in range(tallies.MOST_PATHS + 1)])
    few = tally(["/users/7/name"], ["/at"])
    few.merge(many)
    assert times(few) == {"/users/…": tallies.MOST_PATHS + 2, "/at": 1}
    assert few.sets is None
    assert few.is_cut


paths = st.lists(
    st.builds(
        lambda a, b, c: "/".join(["", a, *map(str, [b, c][: b % 3])]),
        st.sampled_from(["x", "y"]),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(paths, max_size=120), st.integers(1, 6), st.randoms())
def test_a_tally_is_the_same_in_any_order_of_pairs_and_merges(pairs, parts, shuffle):
    # Bounds that so few pairs can cross.
    kept = tallies.MOST_PATHS, tallies.MOST_SETS
    tallies.MOST_PATHS, tallies.MOST_SETS = 12, 20
    try:
        events = [(found, f"event-{number:03}") for number, found in enumerate(pairs)]
        whole = Tally()
        for found, event_id in events:
            whole.add(found, event_id)
        shuffle.shuffle(events)
        split = [Tally() for _ in range(parts)]
        for number, (found, event_id) in enumerate(events):
            split[number % parts].add(found, event_id)
        merged = Tally()
        for part in split:
            merged.merge(part)
        assert merged == whole
        assert len(whole.paths) <= 12
    finally:
        tallies.MOST_PATHS, tallies.MOST_SETS = kept


def test_the_worst_pairs_are_the_same_in_any_order():
    pairs = [(score % 13 / 7, f"event-{score:03}") for score in range(100)]
    expected = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:20]
    random.Random(1).shuffle(pairs)
    one, other = Worst(), Worst()
    for number, pair in enumerate(pairs):
        (one, other)[number % 2].add(*pair)
    one.merge(other)
    assert one.pairs == expected
