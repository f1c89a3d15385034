"""Instances and variants as this router lives with them: connections, requests in flight, health.

They outlast the entries of the routing table that name them: an instance keeps its connections and
counts as long as its id stays in the snapshot, under whichever variant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gnomon.model.request_head import header_lines
from gnomon.model.snapshot import Instance
from gnomon.router.pool import Pool


class LiveInstance:
    """One instance. `outstanding` is requests in flight on it, copies included; `repeats` of them
    are production asked again, which no client waits for.

    It belongs to one variant at a time. While it is ejected it gets no requests, only pings.
    """

    __slots__ = (
        "_own_headers",
        "_request_line",
        "id",
        "id_bytes",
        "is_ejected",
        "is_gone",
        "outstanding",
        "pool",
        "repeats",
        "shadow_pool",
        "spec",
        "time_limits_in_a_row",
        "variant",
    )

    def __init__(self, spec: Instance, variant: LiveVariant, pool: Pool, shadow_pool: Pool) -> None:
        self.spec = spec
        self.id = spec.id
        self.id_bytes = spec.id.encode()
        self.variant = variant
        self.pool = pool
        self.shadow_pool = shadow_pool
        self.outstanding = 0
        self.repeats = 0
        self.time_limits_in_a_row = 0
        self.is_ejected = False
        self.is_gone = False
        self._request_line = b"POST %b HTTP/1.1\r\n%b" % (
            spec.invocation_path.encode(),
            header_lines(spec.host, spec.port, spec.headers),
        )
        self._own_headers = frozenset(name.lower().encode() for name, _ in spec.headers)

    def head(self, model_head: bytes) -> bytes:
        """A request's head up to its last header line; `model_head` are the client's lines."""
        if self._own_headers:
            lines = model_head.split(b"\r\n")
            model_head = b"\r\n".join(
                line for line in lines if line.partition(b":")[0].lower() not in self._own_headers
            )
        return self._request_line + model_head

    def leave(self) -> None:
        """It is in the snapshot no more."""
        self.is_gone = True
        self.pool.retire()
        self.shadow_pool.retire()

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to sweep."""
        return self.pool.is_at_rest and self.shadow_pool.is_at_rest

    def call_on_use(self, act: Callable[[], None]) -> None:
        """Have `act` called, again and again, when there begins to be something to sweep."""
        self.pool.on_use = self.shadow_pool.on_use = act

    def sweep(self, now_s: float) -> None:
        self.pool.sweep(now_s)
        self.shadow_pool.sweep(now_s)

    def abort(self) -> None:
        self.pool.abort()
        self.shadow_pool.abort()


class LiveVariant:
    """One variant; `healthy` are its instances that may get requests."""

    __slots__ = ("healthy", "id", "instances", "name", "name_bytes")

    def __init__(self, id_: str, name: str) -> None:
        self.id = id_
        self.name = name
        self.name_bytes = name.encode()
        self.instances: tuple[LiveInstance, ...] = ()
        self.healthy: list[LiveInstance] = []

    def set_instances(self, instances: Iterable[LiveInstance]) -> None:
        self.instances = tuple(instances)
        for instance in self.instances:
            instance.variant = self
        self.see_health()

    def see_health(self) -> None:
        """To be called when an instance was ejected or is back."""
        self.healthy = [instance for instance in self.instances if not instance.is_ejected]
