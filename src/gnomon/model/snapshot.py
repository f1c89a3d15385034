"""The routing snapshot: what a router knows of endpoints, and the messages that carry it.

Control makes it, routers hold it (in memory and on disk); its counterpart in SQL is the table
`routes`. Everything is immutable and carries internal ids, so that a deleted and re-made endpoint
inherits nothing. Versions come from one global counter that never goes back.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Routing = Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"]


class Instance(msgspec.Struct, frozen=True):
    """One running copy of a model. `keep_alive_s`: how long its server keeps an idle connection.

    `headers` are set on every request to it, in place of a client's of the same name.
    """

    id: str
    host: str
    port: int
    keep_alive_s: float = 1.0
    ping_path: str = "/ping"
    invocation_path: str = "/invocations"
    headers: tuple[tuple[str, str], ...] = ()


class Variant(msgspec.Struct, frozen=True):
    """A variant and those of its instances that may take traffic (possibly none)."""

    id: str
    name: str
    weight: float
    instances: tuple[Instance, ...]


class Shadow(msgspec.Struct, frozen=True):
    """A shadow variant and the share (0 to 1) of production requests that are mirrored to it."""

    variant: Variant
    share: float


class Experiment(msgspec.Struct, frozen=True):
    """The inference experiment that runs on an endpoint.

    From `ends_at_s` (epoch seconds) on, a router makes no copy and no capture for it, even with
    control gone. `noise_share` (0 to 1) of production's answers are asked for a second time.
    """

    id: str
    name: str
    ends_at_s: float
    noise_share: float = 0.0


class Capture(msgspec.Struct, frozen=True):
    """One destination of captured exchanges; both variants' exchanges go to it.

    `experiment_id` is empty for an endpoint's own DataCaptureConfig. `share` is 0 to 1.
    """

    id: str
    experiment_id: str
    share: float = 1.0
    request: bool = True
    response: bool = True


class FrameKey(msgspec.Struct, frozen=True):
    """A data key for an endpoint's records in the spool; `plain` is secret."""

    wrapped: bytes
    plain: bytes


class Endpoint(msgspec.Struct, frozen=True):
    """All that a router needs to serve one endpoint.

    With a `kms_key` (as it was named) exchanges and pairs are written sealed under `frame_key`,
    which control adds when it tells a router, or not at all.

    `barriers`: each router writes each of these ids into its spool once, when no request is open
    that began under an experiment which this entry no longer has.
    """

    id: str
    name: str
    version: int
    production: tuple[Variant, ...]
    routing: Routing = "LEAST_OUTSTANDING_REQUESTS"
    shadow: Shadow | None = None
    experiment: Experiment | None = None
    captures: tuple[Capture, ...] = ()
    barriers: tuple[str, ...] = ()
    kms_key: str = ""
    frame_key: FrameKey | None = None


class Removed(msgspec.Struct, frozen=True):
    """A tombstone: the endpoint with this id is gone since `version`."""

    id: str
    version: int


class Incarnation(msgspec.Struct, frozen=True):
    """One life of one router process."""

    id: str
    slot: int
    pid: int
    start_time: float
    boot_id: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Router to control: what it has applied, and what of it is still in use.

    `busy` are the ids of instances that are not in its snapshot any more and still have a request
    in flight; `trouble` is a sentence on what the router cannot keep now, or nothing. Control
    answers with an `Update`, at once if it has news, else after a while.
    """

    incarnation: Incarnation
    version: int
    busy: tuple[str, ...]
    trouble: str = ""


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Control to router: what changed since the version that the router reported."""

    version: int
    endpoints: tuple[Endpoint, ...] = ()
    removed: tuple[Removed, ...] = ()
