"""What an endpoint needs next. Pure: from what is desired and what was seen to actions.

An update starts what is missing beside what serves; when everything desired is healthy the desired
state serves, and what is left over is drained. Nothing here waits, and every answer stays right
when it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gnomon.control.actions import (
    DrainInstance,
    EndpointAction,
    FailChange,
    RemoveEndpoint,
    Serve,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.model.lifecycle import FAILED_INSTANCE
from gnomon.model.records import EndpointRecord, InstanceRecord
from gnomon.model.snapshot import Endpoint, Shadow, Variant
from gnomon.model.spec import VariantSpec

# Restarts of an instance that keeps failing: 1 s after the first failure, doubled up to this.
MAX_RESTART_DELAY_S = 30.0
# Failures further back than this no longer lengthen the delay.
FAILURE_MEMORY_S = 300.0

# How long a change waits for a router that lives and does not report, in seconds.
ROUTERS_TIME_LIMIT_S = 10.0

_GROWING = ("Pending", "Starting", "InService")


@dataclass(frozen=True)
class Observed:
    """Instances of the endpoint that live, or failed of late, oldest first.

    `released`: draining instances that no router can still be using. `routers_know`: every router
    has what is published of the endpoint. `cores`: of the machine.
    """

    instances: Sequence[InstanceRecord]
    released: frozenset[str]
    routers_know: bool = True
    cores: int = 1024


def plan_endpoint(
    endpoint: EndpointRecord, observed: Observed, steady_s: float
) -> list[EndpointAction]:
    """Actions that bring the endpoint nearer to what is desired; none when it is there.

    `steady_s` is steady time (`gnomon.model.clock`).
    """
    stops: list[EndpointAction] = [
        StopInstance(instance.id)
        for instance in observed.instances
        if (instance.status == "Draining" and instance.id in observed.released)
        or instance.status == "Stopping"
    ]
    if endpoint.status == "Deleting":
        living = [i for i in observed.instances if i.status != "Failed"]
        if not living:
            return [RemoveEndpoint()]
        return [*_drain(i for i in living if i.status in _GROWING), *stops]
    if endpoint.status == "Failed":
        return [*_drain(i for i in observed.instances if i.status in _GROWING), *stops]

    if endpoint.status in {"Creating", "Updating"}:
        if endpoint.serving == endpoint.desired:
            # A client that sees InService must be answered by it, whichever router it meets.
            waited_s = steady_s - endpoint.changing_since_s
            settled = observed.routers_know or waited_s > ROUTERS_TIME_LIMIT_S
            return [Settle(), *stops] if settled else stops
        if _needs_nothing_new(endpoint, observed.instances):
            return [Serve(), *stops]
        failed = _failure(endpoint, observed.instances)
        if failed is not None:
            return [FailChange(failed), *stops]
        if all(
            len(_running(variant, observed.instances, ("InService",))) >= variant.count
            for variant in endpoint.desired.variants
        ):
            return [Serve(), *stops]
    return [
        *_starts(endpoint, observed, steady_s),
        *_drain(_superfluous(endpoint, observed.instances)),
        *stops,
    ]


def route_of(
    endpoint: EndpointRecord, instances: Sequence[InstanceRecord], version: int
) -> Endpoint | None:
    """What routers are told of the endpoint; None before it first served and when it goes."""
    spec = endpoint.serving
    if spec is None or endpoint.status == "Deleting":
        return None

    def variant(of: VariantSpec) -> Variant:
        return Variant(
            id=of.id,
            name=of.name,
            weight=of.weight,
            instances=tuple(
                instance.address
                for instance in _running(of, instances, ("InService",))
                if instance.address is not None
            ),
        )

    return Endpoint(
        id=endpoint.id,
        name=endpoint.name,
        version=version,
        production=tuple(variant(of) for of in spec.production),
        routing=spec.routing,
        shadow=Shadow(variant(spec.shadow), spec.shadow_share) if spec.shadow else None,
        experiment=spec.experiment,
        captures=spec.captures,
        barriers=spec.barriers,
        kms_key=spec.kms_key,
    )


def _running(
    variant: VariantSpec, instances: Sequence[InstanceRecord], statuses: tuple[str, ...]
) -> list[InstanceRecord]:
    return [
        instance
        for instance in instances
        if instance.status in statuses
        and instance.variant_id == variant.id
        and instance.fingerprint == variant.fingerprint
    ]


def _needs_nothing_new(endpoint: EndpointRecord, instances: Sequence[InstanceRecord]) -> bool:
    """Whether what is desired is a part of what serves: then nothing has to be waited for.

    An instance that is missing is so already, and comes back as it would have: going back, a
    promotion and a changed share must not wait for it, or fail with it. But a shadow is promoted
    only once it has as many healthy instances as production has, or as it is to have.
    """
    if endpoint.serving is None:
        return False
    served = {(v.id, v.fingerprint): v.count for v in endpoint.serving.variants}
    production = {(v.id, v.fingerprint) for v in endpoint.serving.production}
    healthy = sum(len(_running(v, instances, ("InService",))) for v in endpoint.serving.production)
    return all(
        variant.count <= served.get((variant.id, variant.fingerprint), 0)
        for variant in endpoint.desired.variants
    ) and all(
        len(_running(variant, instances, ("InService",))) >= min(variant.count, healthy)
        for variant in endpoint.desired.production
        if (variant.id, variant.fingerprint) not in production
    )


def _starts(endpoint: EndpointRecord, observed: Observed, steady_s: float) -> list[EndpointAction]:
    """Restarts of what serves, then what is new.

    What serves is restarted during a change too, and does not wait for it; nor does what is new
    wait for an instance that the change does away with.
    """
    instances = observed.instances
    served = {(variant.id, variant.fingerprint): variant.count for variant in _serving(endpoint)}
    desired = {(variant.id, variant.fingerprint) for variant in endpoint.desired.variants}
    restarts: list[EndpointAction] = []
    new: list[EndpointAction] = []
    for variant in (*_leaving_production(endpoint), *endpoint.desired.variants):
        growing = _running(variant, instances, _GROWING)
        is_starting = any(instance.status != "InService" for instance in growing)
        missing = variant.count - len(growing)
        count_served = served.get((variant.id, variant.fingerprint))
        if count_served is not None and steady_s < _restart_at_s(variant, instances, steady_s):
            continue
        is_shadow = variant is endpoint.desired.shadow
        if is_shadow:
            # Shadows start one at a time: production keeps the machine.
            missing = min(missing, 0 if is_starting else 1)
        elif missing == 0 and not is_starting and lights(endpoint, growing):
            # One of normal weight beside; the light one that it is for is drained when it is there.
            missing = 1
        for number in range(len(growing), len(growing) + missing):
            is_restart = count_served is not None and number < count_served
            (restarts if is_restart else new).append(StartInstance(variant, light=is_shadow))
    # Models that load at once on too few cores hold up production, and each other.
    starting = [i for i in instances if i.status in {"Pending", "Starting"}]
    if len(starting) + len(restarts) > observed.cores:
        restarts = restarts[: 0 if starting else 1]
    running = sum(instance.status in _GROWING for instance in instances)
    if running + len(restarts) + len(new) > observed.cores:
        awaited = any((i.variant_id, i.fingerprint) in desired for i in starting)
        new = new[: 0 if awaited or restarts else 1]
    return [*restarts, *new]


def _serving(endpoint: EndpointRecord) -> tuple[VariantSpec, ...]:
    return tuple(endpoint.serving.variants) if endpoint.serving else ()


def _leaving_production(endpoint: EndpointRecord) -> list[VariantSpec]:
    """Production that serves until the change is there, and is not a part of what is desired."""
    desired = {(variant.id, variant.fingerprint) for variant in endpoint.desired.variants}
    production = endpoint.serving.production if endpoint.serving else ()
    return [v for v in production if (v.id, v.fingerprint) not in desired]


def lights(endpoint: EndpointRecord, instances: Sequence[InstanceRecord]) -> list[InstanceRecord]:
    """Healthy production instances of low CPU weight: a shadow's, which was promoted.

    They serve on until instances of normal weight are there, which nothing waits for.
    """
    if endpoint.status != "InService" or endpoint.serving != endpoint.desired:
        return []
    return [
        instance
        for variant in endpoint.desired.production
        for instance in _running(variant, instances, ("InService",))
        if instance.light
    ]


def _restart_at_s(
    variant: VariantSpec, instances: Sequence[InstanceRecord], steady_s: float
) -> float:
    ends = [
        instance.ended_at_s
        for instance in _running(variant, instances, ("Failed",))
        if instance.ended_at_s is not None and steady_s - instance.ended_at_s < FAILURE_MEMORY_S
    ]
    if not ends:
        return 0.0
    return max(ends) + min(MAX_RESTART_DELAY_S, 2.0 ** (len(ends) - 1))


def _failure(endpoint: EndpointRecord, instances: Sequence[InstanceRecord]) -> str | None:
    """Why the change under way cannot succeed: an instance that it started has failed."""
    for variant in endpoint.desired.variants:
        for instance in _running(variant, instances, FAILED_INSTANCE):
            if instance.created_at_s >= endpoint.changing_since_s:
                return instance.reason
    return None


def _superfluous(
    endpoint: EndpointRecord, instances: Sequence[InstanceRecord]
) -> list[InstanceRecord]:
    """Instances that neither what is desired nor what serves has use for."""
    specs = [endpoint.desired] + ([endpoint.serving] if endpoint.serving else [])
    keep: dict[tuple[str, str], int] = {}
    for spec in specs:
        for variant in spec.variants:
            identity = (variant.id, variant.fingerprint)
            keep[identity] = max(keep.get(identity, 0), variant.count)
    for identity in {(i.variant_id, i.fingerprint) for i in lights(endpoint, instances)}:
        # One that is to take a light one's place, until it is healthy.
        keep[identity] += any(
            (i.variant_id, i.fingerprint) == identity and i.status in {"Pending", "Starting"}
            for i in instances
        )
    extra = []
    # Healthy ones first, of normal weight before light, then the oldest: what is left over is what
    # is youngest and not ready.
    for instance in sorted(instances, key=lambda i: (i.status != "InService", i.light, i.id)):
        if instance.status not in _GROWING:
            continue
        identity = (instance.variant_id, instance.fingerprint)
        keep[identity] = keep.get(identity, 0) - 1
        if keep[identity] < 0:
            extra.append(instance)
    return extra


def _drain(instances: Iterable[InstanceRecord]) -> list[EndpointAction]:
    return [DrainInstance(instance.id) for instance in instances]
