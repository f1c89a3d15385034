"""What a router writes into its spool, and the collector reads: the kinds of frame.

How they lie in a file is in `gnomon.spool.segment`. Times are epoch seconds, latencies
microseconds. A body that was cut is known by `body_bytes` (its full length) and `sha256`.
"""

from __future__ import annotations

import msgspec


class MetricDelta(msgspec.Struct, frozen=True, array_like=True):
    """What was counted for one variant on one instance in one minute since the last delta.

    `minute` is epoch seconds / 60. `instance_id` and `experiment_id` are empty where there is
    none. Histograms are bucket (of `gnomon.stats.histogram`) to count.
    """

    endpoint_id: str
    variant_id: str
    instance_id: str
    experiment_id: str
    minute: int
    counts: dict[str, float]
    histograms: dict[str, dict[int, int]]


class Metrics(msgspec.Struct, frozen=True, tag="metrics", array_like=True):
    """Deltas of all that changed since the frame before."""

    deltas: list[MetricDelta]


class Exchange(msgspec.Struct, frozen=True, tag="exchange", array_like=True):
    """One request to one variant and its answer, for one capture destination."""

    capture_id: str
    endpoint_name: str
    variant_name: str
    event_id: str
    inference_id: str | None
    at_s: float
    status: int
    request_content_type: str | None
    request_body: bytes | None
    response_content_type: str | None
    response_body: bytes | None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """One side of a pair, or of noise.

    `status` is 0 when there was no answer; `failure` then says why (deadline, refused, reset,
    malformed, …) and is empty otherwise. A passed deadline has the deadline as its latency. Of a
    streamed answer `latency_us` is to its last chunk, `first_chunk_us` to its first, if any came.
    """

    instance_id: str
    status: int
    failure: str
    latency_us: int
    content_type: str | None
    body: bytes
    body_bytes: int
    sha256: bytes | None = None
    first_chunk_us: int | None = None


class Pair(msgspec.Struct, frozen=True, tag="pair", array_like=True):
    """Both answers to one mirrored request."""

    experiment_id: str
    endpoint_id: str
    production_variant_id: str
    shadow_variant_id: str
    event_id: str
    at_s: float
    production: Answer
    shadow: Answer


class Noise(msgspec.Struct, frozen=True, tag="noise", array_like=True):
    """Two answers of production to one request: what they differ in is not the shadow's doing."""

    experiment_id: str
    event_id: str
    at_s: float
    first: Answer
    second: Answer


class Barrier(msgspec.Struct, frozen=True, tag="barrier", array_like=True):
    """Everything that this incarnation had to say of the experiment stands before this frame."""

    barrier_id: str
    at_s: float


class Complete(msgspec.Struct, frozen=True, tag="complete", array_like=True):
    """All that this incarnation had to say of requests from before `at_s` stands before this."""

    at_s: float


Frame = Metrics | Exchange | Pair | Barrier | Noise | Complete
