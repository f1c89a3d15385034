import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats.analysis import summarise
from gnomon.stats.blocks import LOG_UNIT, Moments, Wide
from gnomon.stats.comparators import Comparison
from gnomon.stats.histogram import bucket_of
from gnomon.stats.state import PairState, decode, encode
from gnomon.stats.task_state import MOST_LABELS, difference_bounds, difference_bucket
from gnomon.stats.verdict import Circumstances
from gnomon.testing.frames import AT_S, answer, pair

BLOCK_US = 1_000_000
SAME = Comparison(same=True)


def differ(*paths, distance=1.0):
    return Comparison(False, "body", paths, distance)


def state_of(*entries):
    state = PairState(BLOCK_US)
    for entry, comparison in entries:
        state.add(entry, comparison)
    return state


def made(number=1, *, production=None, shadow=None, at_s=AT_S):
    return pair(
        f"event-{number:04}",
        at_s=at_s,
        production=answer(**(production or {})),
        shadow=answer(**(shadow or {})),
    )


def test_an_empty_state_has_nothing():
    state = PairState(BLOCK_US)
    assert (state.pairs, state.answers.compared, state.blocks) == (0, 0, {})


def test_errors_are_told_apart_by_who_made_them():
    bad, gone = {"status": 500}, {"status": 0, "failure": "refused"}
    state = state_of(
        (made(1), SAME),
        (made(2, shadow=bad), SAME),
        (made(3, production={"status": 404}), SAME),
        (made(4, production=bad, shadow=gone), SAME),
    )
    assert (state.pairs, state.only_shadow_failed) == (4, 1)
    assert (state.only_production_failed, state.both_failed) == (1, 1)
    assert state.production_outcomes == {"2xx": 2, "4xx": 1, "5xx": 1}
    assert state.shadow_outcomes == {"2xx": 2, "5xx": 1, "refused": 1}


@pytest.mark.parametrize(
    ("production", "shadow", "pairs", "deadlines"),
    [
        ({}, {}, 1, 0),
        ({}, {"status": 0, "failure": "deadline", "latency_us": 60_000_000}, 1, 1),
        ({}, {"status": 500}, 0, 0),
        ({}, {"status": 0, "failure": "reset"}, 0, 0),
        ({"status": 500}, {}, 0, 0),
        ({"status": 0, "failure": "deadline"}, {}, 0, 0),
    ],
)
def test_latencies_are_of_good_answers_and_of_shadows_past_the_deadline(
    production, shadow, pairs, deadlines
):
    latencies = state_of((made(production=production, shadow=shadow), SAME)).latencies
    assert (latencies.pairs, latencies.deadlines) == (pairs, deadlines)
    assert sum(latencies.production.values()) == pairs
    assert sum(latencies.shadow.values()) == pairs - deadlines


def test_a_passed_deadline_enters_the_log_ratio_at_the_deadline():
    late = {"status": 0, "failure": "deadline", "latency_us": 60_000_000}
    latencies = state_of((made(production={"latency_us": 1000}, shadow=late), SAME)).latencies
    assert latencies.log_ratio / LOG_UNIT == pytest.approx(math.log(60_000), abs=1e-4)
    assert latencies.deadline_us == 60_000_000


def test_pairs_are_put_into_blocks_by_their_time():
    state = state_of(*[(made(n, at_s=1000 + n / 4), SAME) for n in range(8)])
    assert {index: block.pairs for index, block in state.blocks.items()} == {1000: 4, 1001: 4}


def test_settling_keeps_what_is_needed_of_complete_blocks():
    slow = {"latency_us": 3000}
    state = state_of(*[(made(n, at_s=1000 + n / 4, shadow=slow), SAME) for n in range(12)])
    state.settle(1_001_900_000)
    assert set(state.blocks) == {1001, 1002}
    mean = round(math.log(3000) * LOG_UNIT) - round(math.log(1500) * LOG_UNIT)
    settled = state.settled
    moments = settled.ratios_by_block
    assert (moments.blocks, moments.ratios, moments.log_ratio) == (1, 4, 4 * mean)
    assert moments.ratios_squared.value == 16
    assert moments.product.value == 16 * mean
    assert moments.log_ratio_squared.value == 16 * mean * mean
    assert settled.differ == {0: 1}


def test_settling_early_or_late_is_the_same_in_the_end():
    entries = [
        (made(n, at_s=1000 + n / 3, shadow={"latency_us": 900 + n}), SAME) for n in range(40)
    ]
    early = PairState(BLOCK_US)
    for entry, comparison in entries:
        early.add(entry, comparison)
        early.settle(int(entry.at_s * 1e6))
    late = state_of(*entries)
    assert early.settled_with_open() == late.settled_with_open()
    late.settle(2_000_000_000)
    early.settle(2_000_000_000)
    assert early == late


def test_the_newest_block_does_not_count_until_it_is_complete():
    state = state_of((made(1, at_s=1000.5), SAME), (made(2, at_s=1001.5), SAME))
    assert state.settled_with_open().ratios_by_block.blocks == 1


@given(st.lists(st.integers(-(10**14), 10**14)), st.lists(st.integers(-(10**14), 10**14)))
def test_sums_that_exceed_64_bits_are_exact_and_can_be_stored(some, others):
    sums = []
    for numbers in (some, others):
        wide = Wide()
        for number in numbers:
            wide.add(number * abs(number))
        sums.append(msgspec.msgpack.decode(msgspec.msgpack.encode(wide), type=Wide))
    sums[0].merge(sums[1])
    assert sums[0].value == sum(number * abs(number) for number in some + others)


def test_blocks_that_an_earlier_version_kept_begin_anew():
    state = state_of(*[(made(n, at_s=1000 + n / 4), SAME) for n in range(8)])
    state.settle(1_001_000_000)
    stored = msgspec.msgpack.decode(encode(state))
    del stored["complete_us"]
    del stored["settled"]["ratios_by_block"]
    stored["settled"] |= {"ratios": 1, "log_ratio": 5, "log_ratio_squared": 25}
    found = decode(msgspec.msgpack.encode(stored))
    assert (found.pairs, found.settled.ratios_by_block) == (8, Moments())
    found.settle(1_002_000_000)
    assert found.settled.ratios_by_block.blocks == 1
    assert found.settled.differ == {0: 2}


def test_what_differs_is_counted_by_path_and_the_worst_are_remembered():
    state = state_of(
        (made(1), SAME),
        (made(2), differ("/label", distance=1.0)),
        (made(3), differ("/label", "/score", distance=1.5)),
        (made(4), Comparison(False, "status")),
        (made(5), Comparison(None, "truncated")),
    )
    answers = state.answers
    assert (answers.same, answers.differ, answers.unknown) == (1, 3, {"truncated": 1})
    assert {path: c.times for path, c in answers.differing.paths.items()} == {
        "/label": 2,
        "/score": 1,
        "status": 1,
    }
    assert [event_id for _, event_id in state.most_different.pairs[:2]] == [
        "event-0003",
        "event-0002",
    ]


def test_the_most_slowed_pairs_are_remembered():
    state = state_of(*[(made(n, shadow={"latency_us": 1500 * n}), SAME) for n in (1, 4, 2)])
    assert [event_id[-1] for _, event_id in state.most_slowed.pairs] == ["4", "2", "1"]


def test_noise_is_kept_apart():
    state = PairState(BLOCK_US)
    state.add_noise("event-1", differ("/at"))
    assert (state.pairs, state.answers.compared, state.noise.differ) == (0, 0, 1)


def test_labels_and_numbers_are_read_from_predictions():
    state = state_of(
        (made(1), Comparison(same=True, predictions=(("cat", "cat"), ("dog", "cat")))),
        (made(2), Comparison(same=True, predictions=((1.5, 2.0),))),
        (made(3), Comparison(same=True, predictions=((1, 2),))),
        (made(4), Comparison(same=True, predictions=(("cat", 1),))),
    )
    confusion, numbers = state.task.confusion, state.task.numbers
    assert (confusion.pairs, confusion.agreeing) == (2, 0)
    assert ("dog", "cat", 1) in confusion.counts()
    assert (numbers.pairs, numbers.whole) == (2, 1)
    assert float(numbers.shadow.value - numbers.production.value) == 1.5


@pytest.mark.parametrize(
    ("predictions", "task"),
    [
        ([], "generic"),
        ([("cat", "dog")], "classification"),
        ([(0, 1), (1, 1)], "classification"),
        ([(n, n) for n in range(30)], "regression"),
        ([(0.5, 0.6)], "regression"),
        ([("cat", "dog"), (0.5, 0.6), (0.5, 0.6)], "regression"),
        ([(f"text {n}", "x") for n in range(MOST_LABELS + 1)], "generic"),
    ],
)
def test_the_task_is_what_most_predictions_look_like(predictions, task):
    state = state_of(
        *[(made(n), Comparison(same=True, predictions=(p,))) for n, p in enumerate(predictions)]
    )
    assert state.task.detected() == task


def test_more_labels_than_a_closed_set_has_are_given_up():
    one = [(f"label {n}", "x") for n in range(MOST_LABELS - 1)]
    state = state_of(
        *[(made(n), Comparison(same=True, predictions=(p,))) for n, p in enumerate(one)]
    )
    assert len(state.task.confusion.counts()) == MOST_LABELS - 1
    state.merge(state_of((made(0), Comparison(same=True, predictions=(("another", "x"),)))))
    assert state.task.confusion.cells is None
    assert state.task.confusion.pairs == MOST_LABELS


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e200, 10**400])
def test_numbers_without_finite_moments_are_counted_and_left_out(odd):
    state = state_of(
        (made(1), Comparison(same=True, predictions=((1.5, odd),))),
        (made(2), Comparison(same=True, predictions=((1.5, 2.5), (odd, 2.5)))),
        (made(3), Comparison(same=True, predictions=((1.5, 2.5),))),
    )
    numbers = state.task.numbers
    assert (numbers.pairs, numbers.not_finite) == (3, 2)
    assert float(numbers.absolute.value) == 1.0


@settings(deadline=None)
@given(st.floats(-1e154, 1e154))
def test_a_difference_is_in_its_bucket_within_two_percent(value):
    low, high = difference_bounds(difference_bucket(value))
    assert low <= value <= high
    assert high - low <= abs(value) * 0.02 + 5e-324


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_buckets_of_differences_are_in_their_order(a, b):
    if a <= b:
        assert difference_bucket(a) <= difference_bucket(b)


def test_states_with_blocks_of_different_lengths_do_not_merge():
    with pytest.raises(ValueError, match="different lengths"):
        PairState(1).merge(PairState(2))


values = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5)
labels = st.sampled_from(["cat", "dog", ""])
predictions = st.lists(st.tuples(values, values), max_size=2) | st.lists(
    st.tuples(labels, labels), max_size=2
)
comparisons = st.builds(
    lambda same, paths, distance, found: Comparison(
        same, "" if same else "body", () if same else tuple(paths), distance, tuple(found)
    ),
    st.sampled_from([True, False, None]),
    st.lists(st.sampled_from(["/a", "/b/*", "/b/*/c"]), unique=True),
    st.floats(0, 10),
    predictions,
)
sides = st.sampled_from(
    [
        {"latency_us": 0},
        {"latency_us": 900},
        {"latency_us": 2**40},
        {"status": 503},
        {"status": 0, "failure": "deadline", "latency_us": 60_000_000},
        {"status": 0, "failure": "deadline", "latency_us": 1_000_000},
        {"status": 0, "failure": "reset"},
    ]
)
entries = st.lists(st.tuples(sides, sides, st.integers(0, 40), comparisons), max_size=25)


@settings(deadline=None, max_examples=60)
@given(entries, st.integers(1, 5), st.randoms())
def test_states_are_the_same_in_any_order_of_pairs_and_merges_and_through_rows(
    found, parts, shuffle
):
    pairs = [
        (made(n, production=p, shadow=s, at_s=1000 + at / 10), comparison)
        for n, (p, s, at, comparison) in enumerate(found)
    ]
    whole = state_of(*pairs)
    for entry, comparison in pairs:
        whole.add_noise(entry.event_id, comparison)
    shuffle.shuffle(pairs)
    split = [PairState(BLOCK_US) for _ in range(parts)]
    for number, (entry, comparison) in enumerate(pairs):
        split[number % parts].add(entry, comparison)
        split[-1 - number % parts].add_noise(entry.event_id, comparison)
    merged = PairState(BLOCK_US)
    for part in split:
        stored = encode(part)
        merged.merge(decode(stored))
        assert encode(part) == stored
    assert merged == whole
    for state in (merged, whole):
        state.settle(1002)
    assert merged == whole


def test_the_size_of_a_state_does_not_grow_with_its_pairs():
    def size(pairs):
        state = PairState(BLOCK_US)
        for n in range(pairs):
            state.add(
                made(n, at_s=1000 + n / 100, shadow={"latency_us": 900 + n % 500}),
                Comparison(False, "body", (f"/{n}",), 1.0, ((f"text {n}", n / 7),)),
            )
        state.settle(2000)
        return len(encode(state))

    assert size(4000) < 1.5 * size(1000)


def test_sizes_of_answers_are_counted_where_both_are_good():
    halves = [PairState(1_000_000), PairState(1_000_000)]
    for number in range(100):
        halves[number % 2].add(
            pair(
                f"event-{number}",
                production=answer(body_bytes=100),
                shadow=answer(body_bytes=5_000, status=500 if number < 10 else 200),
            ),
            Comparison(same=None, reason="truncated"),
        )
    whole = halves[1]
    whole.merge(halves[0])
    sizes = decode(encode(whole)).sizes
    assert sizes.production == {bucket_of(100): 90}
    assert sizes.shadow == {bucket_of(5_000): 90}
    found = summarise(whole, AnalysisSettings(), Circumstances()).measures
    (size,) = [measure for measure in found if measure.name == "median_size"]
    assert (size.production, size.unit, size.pairs) == (100, "bytes", 90)
    assert size.shadow == pytest.approx(5_000, rel=0.01)
    assert size.change == pytest.approx(50, rel=0.01)
