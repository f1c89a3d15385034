"""Builders of spool frames with something in every field, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.spool.frames import Answer, Barrier, Exchange, MetricDelta, Metrics, Noise, Pair

# 2019-11-20T23:33:12.345Z
AT_S = 1574292792.345


def answer(**changes: Any) -> Answer:
    """A good answer of one CSV cell."""
    return msgspec.structs.replace(
        Answer("instance-1", 200, "", 1500, "text/csv", b"0.5", 3), **changes
    )


def pair(event_id: str = "event-1", **changes: Any) -> Pair:
    """A pair whose answers are the same."""
    base = Pair(
        "experiment-1",
        "endpoint-1",
        "variant-p",
        "variant-s",
        event_id,
        AT_S,
        answer(instance_id="instance-p"),
        answer(instance_id="instance-s", latency_us=3000),
    )
    return msgspec.structs.replace(base, **changes)


def noise(event_id: str = "event-1", **changes: Any) -> Noise:
    """Two answers of production that are the same."""
    base = Noise("experiment-1", event_id, AT_S, answer(), answer())
    return msgspec.structs.replace(base, **changes)


def metrics(count: float = 1.0, **changes: Any) -> Metrics:
    """One delta: `count` invocations, of as many microseconds as one takes."""
    delta = MetricDelta(
        "endpoint-1",
        "variant-p",
        "instance-p",
        "experiment-1",
        int(AT_S // 60),
        {"invocations": count},
        {"model_latency_us": {100: int(count)}},
    )
    return Metrics([msgspec.structs.replace(delta, **changes)])


def exchange(event_id: str = "event-1", **changes: Any) -> Exchange:
    """The exchange of SageMaker's own example of a captured record."""
    base = Exchange(
        capture_id="capture-1",
        endpoint_name="flights",
        variant_name="AllTraffic",
        event_id=event_id,
        inference_id=None,
        at_s=AT_S,
        status=200,
        request_content_type="text/csv",
        request_body=b"132,25,113.2,96\n",
        response_content_type="text/csv; charset=utf-8",
        response_body=b"0.0107",
    )
    return msgspec.structs.replace(base, **changes)


def barrier(barrier_id: str = "barrier-1") -> Barrier:
    """A barrier."""
    return Barrier(barrier_id, AT_S)
