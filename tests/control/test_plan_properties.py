"""The endpoint's planner from any state: it gets there in bounded steps, and production never falls
below what it had, or below its healthy count.
"""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.control.actions import (
    DrainInstance,
    FailChange,
    RemoveEndpoint,
    Serve,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.control.plan_endpoint import Observed, plan_endpoint
from gnomon.testing.builders import a_spec, a_variant, an_endpoint, an_instance

# Far above what any of these states needs: one step starts or stops at least one instance.
MAX_STEPS = 200

COUNTS = st.integers(1, 4)
TYPES = st.sampled_from(["ml.m5.xlarge", "ml.c5.large"])


@st.composite
def variants(draw, name):
    return a_variant(name, count=draw(COUNTS), instance_type=draw(TYPES), weight=1.0)


@st.composite
def specs(draw):
    names = draw(st.sampled_from([("A",), ("B",), ("A", "B")]))
    production = [draw(variants(name)) for name in names]
    shadow = draw(st.none() | variants("S")) if len(names) == 1 else None
    return a_spec(*production, shadow=shadow)


@st.composite
def states(draw):
    """An endpoint between two specs, with instances of either, or of neither any more."""
    serving, desired = draw(specs()), draw(specs())
    status = draw(st.sampled_from(["Updating", "InService", "Creating"]))
    if status == "InService":
        serving = desired
    endpoint = an_endpoint(
        status=status, desired=desired, serving=None if status == "Creating" else serving
    )
    instances = []
    known = [*desired.variants] if status == "Creating" else [*serving.variants, *desired.variants]
    for variant in known:
        for _ in range(draw(st.integers(0, variant.count + 1))):
            instances.append(
                an_instance(
                    variant,
                    len(instances),
                    status=draw(st.sampled_from(["Pending", "Starting", "InService", "Draining"])),
                    light=variant.name == "S",
                )
            )
    return endpoint, instances, draw(st.integers(1, 6))


def healthy(variant, instances):
    return sum(
        i.status == "InService"
        and i.variant_id == variant.id
        and i.fingerprint == variant.fingerprint
        for i in instances
    )


def applied(endpoint, instances, actions, number):
    """The state after the actions; what was started or stopped before comes about."""
    after = []
    stopped = {action.instance_id for action in actions if isinstance(action, StopInstance)}
    drained = {action.instance_id for action in actions if isinstance(action, DrainInstance)}
    for instance in instances:
        if instance.id in stopped:
            continue
        status = instance.status
        if instance.id in drained:
            status = "Draining"
        elif status in {"Pending", "Starting"}:
            status = "InService"
        after.append(msgspec.structs.replace(instance, status=status))
    for action in actions:
        match action:
            case StartInstance(variant, light):
                number += 1
                after.append(an_instance(variant, 1000 + number, status="Pending", light=light))
            case Serve():
                endpoint = msgspec.structs.replace(endpoint, serving=endpoint.desired)
            case Settle():
                endpoint = msgspec.structs.replace(endpoint, status="InService")
            case FailChange() | RemoveEndpoint():
                raise AssertionError(f"nothing fails here, and {action} was planned")
    return endpoint, after, number


@settings(max_examples=300, deadline=None)
@given(states())
def test_any_state_reaches_the_desired_one_and_production_is_never_less(state):
    endpoint, instances, cores = state
    number = 0
    for _ in range(MAX_STEPS):
        released = frozenset(i.id for i in instances if i.status == "Draining")
        actions = plan_endpoint(endpoint, Observed(instances, released, cores=cores), steady_s=1e6)
        if not actions and all(i.status == "InService" for i in instances):
            break
        before = [
            (variant, min(variant.count, healthy(variant, instances)))
            for variant in (endpoint.serving.production if endpoint.serving else ())
        ]
        serving = endpoint.serving
        endpoint, instances, number = applied(endpoint, instances, actions, number)
        if endpoint.serving is serving:
            for variant, count in before:
                assert min(variant.count, healthy(variant, instances)) >= count
        elif serving is not None:
            # At the moment of the switch what serves from now on is all there, or was as it is, or
            # as much of it as served before.
            served = {(v.id, v.fingerprint) for v in serving.production}
            served_count = sum(healthy(variant, instances) for variant in serving.production)
            for variant in endpoint.serving.production:
                least = min(variant.count, served_count)
                whole = healthy(variant, instances) >= least
                assert whole or (variant.id, variant.fingerprint) in served
    else:
        raise AssertionError("the desired state was not reached")
    assert (endpoint.status, endpoint.serving) == ("InService", endpoint.desired)
    for variant in endpoint.desired.variants:
        assert healthy(variant, instances) == variant.count
    assert len(instances) == sum(variant.count for variant in endpoint.desired.variants)


@settings(max_examples=100, deadline=None)
@given(states())
def test_an_endpoint_that_goes_leaves_no_instance(state):
    endpoint, instances, _ = state
    endpoint = msgspec.structs.replace(endpoint, status="Deleting")
    for _ in range(MAX_STEPS):
        released = frozenset(i.id for i in instances if i.status == "Draining")
        actions = plan_endpoint(endpoint, Observed(instances, released), steady_s=1e6)
        if any(isinstance(action, RemoveEndpoint) for action in actions):
            break
        _, instances, _ = applied(endpoint, instances, actions, 0)
    assert instances == []
