from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.spool.frames import MetricDelta, Metrics
from gnomon.spool.merge import merge_metrics

ids = st.sampled_from(["a", "b"])
deltas = st.builds(
    MetricDelta,
    ids,
    ids,
    ids,
    ids,
    minute=st.integers(1, 2),
    counts=st.dictionaries(ids, st.integers(0, 100).map(float), max_size=2),
    histograms=st.dictionaries(
        ids, st.dictionaries(st.integers(0, 3), st.integers(1, 9), max_size=3), max_size=2
    ),
)


def _facts(frames):
    facts = {}
    for frame in frames:
        for d in frame.deltas:
            key = (d.endpoint_id, d.variant_id, d.instance_id, d.experiment_id, d.minute)
            for name, value in d.counts.items():
                facts[*key, name] = facts.get((*key, name), 0) + value
            for name, buckets in d.histograms.items():
                for bucket, count in buckets.items():
                    facts[*key, name, bucket] = facts.get((*key, name, bucket), 0) + count
    return facts


@settings(deadline=None)
@given(st.lists(st.builds(Metrics, st.lists(deltas, max_size=4)), max_size=4))
def test_a_merged_frame_says_what_all_said(frames):
    assert _facts([merge_metrics(frames)]) == _facts(frames)


@settings(deadline=None)
@given(st.lists(st.builds(Metrics, st.lists(deltas, max_size=4)), max_size=4))
def test_each_variant_instance_and_minute_has_one_delta(frames):
    merged = merge_metrics(frames).deltas
    keys = {(d.endpoint_id, d.variant_id, d.instance_id, d.experiment_id, d.minute) for d in merged}
    assert len(keys) == len(merged)


@settings(deadline=None)
@given(st.lists(deltas, min_size=1, max_size=3))
def test_merging_leaves_the_given_frames_alone(given_deltas):
    frame = Metrics(given_deltas)
    before = _facts([frame])
    merge_metrics([frame, frame])
    assert _facts([frame]) == before
