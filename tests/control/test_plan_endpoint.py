import msgspec
import pytest

from gnomon.control.actions import (
    DrainInstance,
    FailChange,
    RemoveEndpoint,
    Serve,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.control.plan_endpoint import (
    ROUTERS_TIME_LIMIT_S,
    Observed,
    plan_endpoint,
    route_of,
)
from gnomon.testing.builders import a_spec, a_variant, an_endpoint, an_instance

OLD = a_variant()
NEW = msgspec.structs.replace(OLD, model_id="id-new")
SHADOW = a_variant("Shadow", weight=0.5)


def plan(endpoint, *instances, released=(), now_s=100.0):
    return plan_endpoint(endpoint, Observed(instances, frozenset(released)), now_s)


def updating(**members):
    return an_endpoint(status="Updating", serving=a_spec(OLD), changing_since_s=50.0, **members)


def test_a_new_endpoint_starts_all_its_instances():
    two = a_variant(count=2)
    endpoint = an_endpoint(status="Creating", desired=a_spec(two), serving=None)
    assert plan(endpoint) == [StartInstance(two), StartInstance(two)]


def test_what_is_starting_is_not_started_again():
    endpoint = an_endpoint(status="Creating", serving=None)
    assert plan(endpoint, an_instance(OLD, status="Pending")) == []


def test_an_endpoint_serves_when_all_that_is_desired_is_healthy():
    endpoint = an_endpoint(status="Creating", serving=None)
    assert plan(endpoint, an_instance(OLD)) == [Serve()]


def test_a_change_is_over_when_every_router_knows_of_it():
    endpoint = an_endpoint(status="Updating", changing_since_s=100.0)
    unknown = Observed([an_instance(OLD)], frozenset(), routers_know=False)
    assert plan_endpoint(endpoint, unknown, 101.0) == []
    assert plan_endpoint(endpoint, unknown, 100.1 + ROUTERS_TIME_LIMIT_S) == [Settle()]
    assert plan(endpoint, an_instance(OLD)) == [Settle()]


def test_a_failed_instance_fails_the_change_that_started_it():
    endpoint = an_endpoint(status="Creating", serving=None)
    failed = an_instance(OLD, status="Failed", reason="no ping", ended_at_s=60.0)
    assert plan(endpoint, failed) == [FailChange("no ping")]


def test_a_failure_from_before_the_change_does_not_fail_it():
    failed = an_instance(OLD, status="Failed", reason="old", created_at_s=10.0, ended_at_s=20.0)
    endpoint = updating(desired=a_spec(NEW))
    assert plan(endpoint, an_instance(OLD, 2), failed) == [StartInstance(NEW)]


def test_an_update_starts_the_new_beside_the_old():
    assert plan(updating(desired=a_spec(NEW)), an_instance(OLD)) == [StartInstance(NEW)]


def test_the_old_is_drained_only_once_the_new_serves():
    old, new = an_instance(OLD), an_instance(NEW, 2)
    assert plan(updating(desired=a_spec(NEW)), old, new) == [Serve()]
    assert plan(an_endpoint(desired=a_spec(NEW)), old, new) == [DrainInstance(old.id)]


def test_fewer_instances_drain_the_youngest():
    two = [an_instance(OLD, 1), an_instance(OLD, 2)]
    assert plan(an_endpoint(), *two) == [DrainInstance(two[1].id)]


def test_fewer_instances_drain_one_that_is_not_healthy_first():
    starting, healthy = an_instance(OLD, 1, status="Starting"), an_instance(OLD, 2)
    assert plan(an_endpoint(), starting, healthy) == [DrainInstance(starting.id)]


def test_a_shadow_is_added_without_touching_production():
    endpoint = updating(desired=a_spec(OLD, shadow=SHADOW))
    assert plan(endpoint, an_instance(OLD)) == [StartInstance(SHADOW, light=True)]


def test_shadows_start_one_at_a_time():
    three = msgspec.structs.replace(SHADOW, count=3)
    endpoint = updating(desired=a_spec(OLD, shadow=three))
    assert plan(endpoint, an_instance(OLD)) == [StartInstance(three, light=True)]
    assert plan(endpoint, an_instance(OLD), an_instance(three, status="Starting")) == []
    assert plan(endpoint, an_instance(OLD), an_instance(three)) == [
        StartInstance(three, light=True)
    ]


def test_a_changed_share_touches_no_instance():
    less = msgspec.structs.replace(SHADOW, weight=0.1)
    endpoint = updating(desired=a_spec(OLD, shadow=less))
    assert plan(endpoint, an_instance(OLD), an_instance(SHADOW)) == [Serve()]


PROMOTED = msgspec.structs.replace(SHADOW, weight=1.0)


@pytest.mark.parametrize(
    "desired",
    [
        a_spec(OLD),
        a_spec(OLD, shadow=msgspec.structs.replace(SHADOW, weight=0.1)),
        a_spec(PROMOTED),
    ],
    ids=["going back", "another share", "promotion"],
)
def test_what_needs_no_new_instance_waits_for_none(desired):
    serving = a_spec(OLD, shadow=SHADOW)
    endpoint = an_endpoint(
        status="Updating", serving=serving, desired=desired, changing_since_s=50.0
    )
    failed = an_instance(OLD, 2, status="Failed", created_at_s=60.0, ended_at_s=61.0)
    assert plan(endpoint, failed) == [Serve()]


def test_a_shadow_is_promoted_once_it_has_as_many_healthy_instances_as_production():
    two = msgspec.structs.replace(PROMOTED, count=2)
    endpoint = an_endpoint(
        status="Updating", serving=a_spec(OLD, shadow=two), desired=a_spec(two), changing_since_s=50
    )
    production, shadow = an_instance(OLD), an_instance(two, 2)
    assert plan(endpoint, production) == [StartInstance(two), StartInstance(two)]
    assert plan(endpoint, production, an_instance(two, 2, status="Starting")) == [
        StartInstance(two)
    ]
    assert plan(endpoint, production, shadow) == [Serve()]
    assert plan(endpoint, shadow) == [Serve()]


def test_production_that_an_update_replaces_is_restarted_until_it_is_replaced():
    endpoint = updating(desired=a_spec(NEW))
    starting = an_instance(NEW, 2, status="Starting")
    assert plan(endpoint, starting) == [StartInstance(OLD)]
    failed = an_instance(OLD, status="Failed", created_at_s=10.0, ended_at_s=99.5)
    assert plan(endpoint, starting, failed) == []
    assert plan(endpoint, starting, failed, now_s=100.5) == [StartInstance(OLD)]


def test_an_instance_that_keeps_failing_is_restarted_no_sooner_while_the_endpoint_changes():
    failed = an_instance(OLD, status="Failed", created_at_s=40.0, ended_at_s=99.5)
    endpoint = updating(desired=a_spec(OLD, shadow=SHADOW))
    assert plan(endpoint, failed, now_s=100.0) == [StartInstance(SHADOW, light=True)]
    assert StartInstance(OLD) in plan(endpoint, failed, now_s=100.5)


def test_a_promoted_shadow_keeps_its_instances_and_production_drains():
    production, shadow = an_instance(OLD), an_instance(SHADOW)
    promoted = msgspec.structs.replace(SHADOW, weight=1.0)
    assert plan(updating(desired=a_spec(promoted)), production, shadow) == [Serve()]
    endpoint = an_endpoint(desired=a_spec(promoted))
    assert plan(endpoint, production, shadow) == [DrainInstance(production.id)]


def test_a_promoted_shadows_instances_give_way_to_normal_ones_one_at_a_time():
    promoted = a_variant("Shadow", count=2)
    endpoint = an_endpoint(desired=a_spec(promoted))
    lights = [an_instance(promoted, number, light=True) for number in (1, 2)]
    assert plan(endpoint, *lights) == [StartInstance(promoted)]
    starting, first = (an_instance(promoted, 3, status=s) for s in ("Starting", "InService"))
    assert plan(endpoint, *lights, starting) == []
    assert plan(endpoint, *lights, first) == [DrainInstance(lights[1].id)]
    assert plan(endpoint, lights[0], first) == [StartInstance(promoted)]
    second = an_instance(promoted, 4)
    assert plan(endpoint, lights[0], first, second) == [DrainInstance(lights[0].id)]
    assert plan(endpoint, first, second) == []


def test_a_promotion_serves_with_light_instances_before_any_gives_way():
    promoted = a_variant("Shadow")
    endpoint = an_endpoint(
        status="Updating", serving=a_spec(OLD, shadow=promoted), desired=a_spec(promoted)
    )
    assert plan(endpoint, an_instance(OLD), an_instance(promoted, 2, light=True)) == [Serve()]


def test_a_normal_instance_that_fails_leaves_the_light_one_serving():
    promoted = a_variant("Shadow")
    endpoint = an_endpoint(desired=a_spec(promoted))
    light = an_instance(promoted, 1, light=True)
    failed = an_instance(promoted, 2, status="Failed", ended_at_s=99.5)
    assert plan(endpoint, light, failed) == []
    assert plan(endpoint, light, failed, now_s=101.0) == [StartInstance(promoted)]


def on(cores, endpoint, *instances):
    return plan_endpoint(endpoint, Observed(instances, frozenset(), cores=cores), 100.0)


def test_where_cores_are_fewer_instances_start_one_at_a_time():
    three = a_variant(count=3)
    endpoint = an_endpoint(status="Creating", desired=a_spec(three), serving=None)
    one, more = [StartInstance(three)], [StartInstance(three)] * 3
    assert on(3, endpoint) == more
    assert on(2, endpoint) == one
    assert on(2, endpoint, an_instance(three, 1, status="Starting")) == []
    assert on(2, endpoint, an_instance(three, 1)) == one
    assert on(3, endpoint, an_instance(three, 1)) == more[1:]
    assert on(1, endpoint, an_instance(three, 1)) == one


def test_an_update_starts_one_at_a_time_where_old_and_new_together_are_more_than_the_cores():
    old, new = (msgspec.structs.replace(of, count=2) for of in (OLD, NEW))
    endpoint = an_endpoint(
        status="Updating", serving=a_spec(old), desired=a_spec(new), changing_since_s=50.0
    )
    serving = [an_instance(old, number) for number in (1, 2)]
    assert on(4, endpoint, *serving) == [StartInstance(new)] * 2
    assert on(3, endpoint, *serving) == [StartInstance(new)]
    assert on(3, endpoint, *serving, an_instance(new, 3, status="Pending")) == []


def test_what_is_new_waits_for_a_restart_and_a_restart_for_nothing_new():
    three, more = a_variant(count=3), a_variant(count=4)
    endpoint = an_endpoint(
        status="Updating", serving=a_spec(three), desired=a_spec(more), changing_since_s=50.0
    )
    assert on(2, endpoint, an_instance(three, 1), an_instance(three, 2)) == [StartInstance(more)]
    starting = an_instance(three, 3, status="Starting")
    assert on(2, endpoint, an_instance(three, 1), starting) == [StartInstance(more)]
    assert on(2, endpoint, an_instance(three, 1), an_instance(three, 2), starting) == []


def test_what_is_new_does_not_wait_for_what_it_replaces():
    endpoint = updating(desired=a_spec(NEW))
    assert on(1, endpoint, an_instance(OLD, status="Starting")) == [StartInstance(NEW)]


def test_an_instance_is_stopped_only_when_no_router_uses_it():
    leaving = an_instance(OLD, 2, status="Draining", left_version=3)
    assert plan(an_endpoint(), an_instance(OLD), leaving) == []
    assert plan(an_endpoint(), an_instance(OLD), leaving, released=[leaving.id]) == [
        StopInstance(leaving.id)
    ]


@pytest.mark.parametrize(("failures", "after_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (9, 30.0)])
def test_an_instance_that_keeps_failing_is_restarted_ever_later(failures, after_s):
    failed = [an_instance(OLD, n, status="Failed", ended_at_s=100.0 - n) for n in range(failures)]
    endpoint = an_endpoint()
    assert plan(endpoint, *failed, now_s=100.0 + after_s - 0.01) == []
    assert plan(endpoint, *failed, now_s=100.0 + after_s) == [StartInstance(OLD)]


def test_deleting_drains_then_stops_then_removes():
    endpoint = an_endpoint(status="Deleting")
    assert plan(endpoint, an_instance(OLD)) == [DrainInstance("AllTraffic-1")]
    draining = an_instance(OLD, status="Draining", left_version=1)
    assert plan(endpoint, draining, released=[draining.id]) == [StopInstance(draining.id)]
    assert plan(endpoint) == [RemoveEndpoint()]


def test_a_failed_endpoint_keeps_nothing_running():
    endpoint = an_endpoint(status="Failed", serving=None)
    assert plan(endpoint, an_instance(OLD)) == [DrainInstance("AllTraffic-1")]


def test_a_route_has_what_serves_and_only_healthy_instances():
    endpoint = updating(desired=a_spec(NEW))
    route = route_of(
        endpoint,
        [an_instance(OLD), an_instance(OLD, 2, status="Starting"), an_instance(NEW, 3)],
        7,
    )
    assert route is not None
    assert [i.id for v in route.production for i in v.instances] == ["AllTraffic-1"]
    assert route.version == 7


def test_there_is_no_route_before_an_endpoint_first_served_and_none_while_it_goes():
    assert route_of(an_endpoint(status="Creating", serving=None), [an_instance(OLD)], 1) is None
    assert route_of(an_endpoint(status="Deleting"), [an_instance(OLD)], 1) is None
