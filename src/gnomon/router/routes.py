"""The live routing table: what the snapshot says, with the connections and counts that go with it.

An update rebuilds the endpoints that it names and nothing else. Requests keep the `Entry` under
which they began, so that an experiment's end can wait for exactly those that belong to it
(`barriers`). The snapshot's types are in `gnomon.model.snapshot`; `feed` brings the updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from gnomon.model.snapshot import Capture, Endpoint, FrameKey, Instance, Variant
from gnomon.router.counters import Cell, Counters
from gnomon.router.decide import cumulative_shares
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.spool.sealing import FrameSeal

InstanceMaker = Callable[[Instance, LiveVariant], LiveInstance]


class Entry:
    """One version of an endpoint's entry in the snapshot, ready for requests.

    `open` counts the exchanges that began under it and have not ended, copies included.
    """

    __slots__ = (
        "_cells",
        "_counters",
        "captures",
        "cumulative",
        "draws_captures",
        "endpoint",
        "ends_at_s",
        "experiment_id",
        "is_random",
        "noise_share",
        "on_drained",
        "open",
        "seal",
        "shadow",
        "shadow_cell",
        "share",
        "spec",
        "variants",
    )

    def __init__(
        self,
        spec: Endpoint,
        endpoint: LiveEndpoint,
        variants: tuple[LiveVariant, ...],
        shadow: LiveVariant | None,
        counters: Counters,
    ) -> None:
        experiment = spec.experiment
        self.spec = spec
        self.endpoint = endpoint
        self.variants = variants
        self.cumulative = cumulative_shares([variant.weight for variant in spec.production])
        self.is_random = spec.routing == "RANDOM"
        self.shadow = shadow
        self.share = spec.shadow.share if spec.shadow else 0.0
        self.experiment_id = experiment.id if experiment else ""
        self.ends_at_s = experiment.ends_at_s if experiment else math.inf
        self.noise_share = experiment.noise_share if experiment else 0.0
        self.captures: tuple[Capture, ...] = spec.captures
        # Whether some of them want no more than a share of the requests.
        self.draws_captures = any(capture.share < 1 for capture in spec.captures)
        # What exchanges, pairs and noise are sealed with, where the endpoint has a key.
        self.seal = endpoint.seal_under(spec.frame_key) if spec.frame_key else None
        self.open = 0
        self.on_drained: Callable[[], None] | None = None
        self._counters = counters
        self._cells: dict[LiveVariant | LiveInstance, Cell] = {}
        self.shadow_cell = self.cell(shadow, None) if shadow else None

    def cell(self, variant: LiveVariant, instance: LiveInstance | None) -> Cell:
        """Where to count for this variant on this instance (None: on no instance)."""
        # Under one entry an instance has one variant.
        key = instance or variant
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = self._counters.cell(
                self.endpoint.id, variant.id, instance.id if instance else "", self.experiment_id
            )
        return cell

    def variant_named(self, name: bytes) -> LiveVariant | None:
        """The production variant of that name."""
        for variant in self.variants:
            if variant.name_bytes == name:
                return variant
        return None

    @property
    def may_record(self) -> bool:
        """Whether requests and answers may be written: in clear, or sealed where there is a key."""
        return self.seal is not None or not self.spec.kms_key

    def left(self) -> None:
        """An exchange that began under this entry has ended, with all that it had to record."""
        self.open -= 1
        if not self.open and self.on_drained is not None:
            self.on_drained()

    def count_in_flight(self) -> None:
        """Count how many requests each variant has in flight, unless it had none since the last
        flush: what is idle costs no row.
        """
        for variant in (*self.variants, self.shadow) if self.shadow else self.variants:
            in_flight = sum(one.outstanding - one.repeats for one in variant.instances)
            if in_flight or any(
                cell.has_invocations
                for instance in variant.instances
                if (cell := self._cells.get(instance)) is not None
            ):
                self.cell(variant, None).in_flight(in_flight)

    def without_experiment(self) -> Entry:
        """The entry once its experiment's end has passed: no copies, no captures for it."""
        spec = self.spec
        captures = tuple(capture for capture in spec.captures if not capture.experiment_id)
        return Entry(
            Endpoint(
                id=spec.id,
                name=spec.name,
                version=spec.version,
                production=spec.production,
                routing=spec.routing,
                captures=captures,
                barriers=spec.barriers,
                kms_key=spec.kms_key,
                frame_key=spec.frame_key,
            ),
            self.endpoint,
            self.variants,
            None,
            self._counters,
        )


class LiveEndpoint:
    """One endpoint; `mirror_in_flight` and `mirror_bytes` are its copies' use of the budget."""

    __slots__ = (
        "_seal",
        "_sealed_under",
        "entry",
        "former",
        "id",
        "instances",
        "mirror_bytes",
        "mirror_in_flight",
        "name",
        "path",
        "spec",
        "stream_path",
        "variants",
    )

    entry: Entry

    def __init__(self, spec: Endpoint) -> None:
        self.id = spec.id
        self.name = spec.name
        self.path = f"/endpoints/{spec.name}/invocations".encode()
        self.stream_path = self.path + b"-response-stream"
        self.spec = spec
        self.instances: dict[str, LiveInstance] = {}
        self.variants: dict[str, LiveVariant] = {}
        self.former: list[Entry] = []
        self._seal: FrameSeal | None = None
        self._sealed_under: FrameKey | None = None
        self.mirror_in_flight = 0
        self.mirror_bytes = 0

    def entry_at(self, now_s: float) -> Entry:
        """The entry for a request that begins at `now_s` (epoch seconds)."""
        if now_s >= self.entry.ends_at_s:
            self.switch_to(self.entry.without_experiment())
        return self.entry

    def seal_under(self, key: FrameKey) -> FrameSeal:
        """The same seal for as long as the key is the same: its reader keeps a cipher for each."""
        if self._seal is None or self._sealed_under != key:
            self._seal, self._sealed_under = FrameSeal(key.wrapped, key.plain), key
        return self._seal

    def switch_to(self, entry: Entry) -> None:
        """From here on requests begin under `entry`."""
        self.former = [former for former in (*self.former, self.entry) if former.open]
        self.entry = entry


class RoutingTable:
    """Every endpoint that the snapshot has, and the instances that left it with requests open."""

    def __init__(self, make_instance: InstanceMaker, counters: Counters) -> None:
        self.by_path: dict[bytes, LiveEndpoint] = {}
        self.by_stream_path: dict[bytes, LiveEndpoint] = {}
        self.by_id: dict[str, LiveEndpoint] = {}
        self._make_instance = make_instance
        self._counters = counters
        self._leaving: set[LiveInstance] = set()
        self._under_test: set[str] = set()
        # Those that are in use: with 10,000 endpoints that rest, looking at each would cost more
        # than the requests to the others (the bench `endpoints` shows it).
        self._awake: dict[LiveInstance, LiveEndpoint] = {}

    @property
    def has_tests(self) -> bool:
        """Whether any endpoint is under a test."""
        return bool(self._under_test)

    def specs(self) -> tuple[Endpoint, ...]:
        """The snapshot's entries as they were applied."""
        return tuple(endpoint.spec for endpoint in self.by_id.values())

    def apply(self, spec: Endpoint) -> LiveEndpoint:
        """Make the endpoint what `spec` says; what it keeps of instances goes on undisturbed."""
        endpoint = self.by_id.get(spec.id)
        if spec.experiment is not None:
            self._under_test.add(spec.id)
        else:
            self._under_test.discard(spec.id)
        if endpoint is not None:
            if spec.frame_key is None and spec.kms_key == endpoint.spec.kms_key:
                # Control could not have one. What it had before is as good.
                spec = msgspec.structs.replace(spec, frame_key=endpoint.spec.frame_key)
            if endpoint.spec != spec:
                endpoint.spec = spec
                endpoint.switch_to(self._entry(endpoint, spec))
            return endpoint
        endpoint = self.by_id[spec.id] = LiveEndpoint(spec)
        endpoint.entry = self._entry(endpoint, spec)
        self.by_path[endpoint.path] = endpoint
        self.by_stream_path[endpoint.stream_path] = endpoint
        return endpoint

    def remove(self, endpoint_id: str) -> None:
        """Forget the endpoint; requests that it has still end."""
        endpoint = self.by_id.pop(endpoint_id, None)
        self._under_test.discard(endpoint_id)
        if endpoint is None:
            return
        if self.by_path.get(endpoint.path) is endpoint:
            del self.by_path[endpoint.path]
            del self.by_stream_path[endpoint.stream_path]
        self._let_go(endpoint.instances.values())

    def busy(self) -> tuple[str, ...]:
        """The ids of instances that left the snapshot and still have a request in flight."""
        self._leaving = {instance for instance in self._leaving if instance.outstanding}
        return tuple(sorted(instance.id for instance in self._leaving))

    def sweep(self, now_s: float) -> None:
        """Look after deadlines and idle connections; `now_s` is monotonic."""
        for instance in list(self._awake):
            instance.sweep(now_s)
        self._leaving = {instance for instance in self._leaving if instance.outstanding}

    def count_in_flight(self) -> None:
        """To be called once a second: how many requests are in flight, by variant."""
        for endpoint in set(self._awake.values()):
            if self.by_id.get(endpoint.id) is endpoint:
                endpoint.entry.count_in_flight()
        # Not before it is counted: what ended a moment ago is, too.
        for instance in [instance for instance in self._awake if instance.is_at_rest]:
            del self._awake[instance]

    def abort(self) -> None:
        """Break off what is still open on any instance."""
        for endpoint in self.by_id.values():
            for instance in endpoint.instances.values():
                instance.abort()
        for instance in self._leaving:
            instance.abort()

    def _entry(self, endpoint: LiveEndpoint, spec: Endpoint) -> Entry:
        instances, endpoint.instances = endpoint.instances, {}
        variants, endpoint.variants = endpoint.variants, {}
        production = tuple(
            self._variant(endpoint, variant, variants, instances) for variant in spec.production
        )
        shadow = None
        if spec.shadow is not None:
            shadow = self._variant(endpoint, spec.shadow.variant, variants, instances)
        for id_, variant in variants.items():
            if id_ not in endpoint.variants:
                variant.set_instances(())
        self._let_go(
            instance
            for id_, instance in instances.items()
            if endpoint.instances.get(id_) is not instance
        )
        return Entry(spec, endpoint, production, shadow, self._counters)

    def _variant(
        self,
        endpoint: LiveEndpoint,
        spec: Variant,
        variants: dict[str, LiveVariant],
        instances: dict[str, LiveInstance],
    ) -> LiveVariant:
        """The variant as `spec` says, with what is there already of it."""
        variant = variants.get(spec.id) or LiveVariant(spec.id, spec.name)
        endpoint.variants[spec.id] = variant
        members = []
        for instance_spec in spec.instances:
            instance = instances.get(instance_spec.id)
            if instance is None or instance.spec != instance_spec:
                instance = self._make_instance(instance_spec, variant)
                instance.call_on_use(partial(self._awake.__setitem__, instance, endpoint))
            endpoint.instances[instance_spec.id] = instance
            members.append(instance)
        variant.set_instances(members)
        return variant

    def _let_go(self, instances: Iterable[LiveInstance]) -> None:
        for instance in instances:
            instance.leave()
            if instance.outstanding:
                self._leaving.add(instance)
