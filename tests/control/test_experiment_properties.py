"""An experiment and its endpoint, planned together, whatever happens on the way: the test ends, the
endpoint is what it is to be then, and no step takes production below its healthy count.
"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.control.actions import (
    BeginTest,
    CheckModelData,
    DrainInstance,
    EndpointView,
    EndTest,
    FailChange,
    Serve,
    SetStatus,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.control.operations.experiment_specs import promoted_spec, retained_spec, test_spec
from gnomon.control.plan_endpoint import Observed, plan_endpoint
from gnomon.control.plan_experiment import BARRIER_TIME_LIMIT_S, plan_experiment
from gnomon.model.experiment import Ending
from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT
from gnomon.testing.builders import (
    a_plan,
    a_spec,
    a_variant,
    an_endpoint,
    an_experiment,
    an_instance,
)

pytestmark = pytest.mark.slow

# pytest would take the name for a test.
test_spec.__test__ = False

STEP_S = 10.0
ENDS_AT_S = 2000.0
# Far above what is needed from any state on, with every restart's delay and every barrier's limit.
MAX_STEPS = int((ENDS_AT_S + 2 * BARRIER_TIME_LIMIT_S) / STEP_S) + 50
COUNTS = st.integers(1, 3)
TYPES = st.sampled_from(["ml.m5.xlarge", "ml.c5.large"])
DURING = st.lists(st.sampled_from(["nothing", "starts fail", "one dies", "sampling"]), max_size=8)
STOPS = st.sampled_from(["nothing", "Remove", "Retain", "Promote"])
AFTER = st.lists(st.sampled_from(["nothing", "starts fail", "one dies"]), max_size=20)


class World:
    """The two records, the instances, and what the loops make of the planners' actions."""

    def __init__(self, spec, plan, status, *, missing=0, cores=4):
        self.endpoint = an_endpoint(desired=spec)
        self.experiment = an_experiment(status=status, plan=plan)
        self.former = spec
        self.missing = missing
        self.cores = cores
        self.now_s = 0.0
        self.number = 0
        self.instances = [self.instance(v) for v in spec.variants for _ in range(v.count)]

    def instance(self, variant, status="InService", *, light=False):
        self.number += 1
        return an_instance(
            variant, self.number, status=status, light=light, created_at_s=self.now_s
        )

    def healthy(self, variant):
        return sum(
            i.status == "InService"
            and (i.variant_id, i.fingerprint) == (variant.id, variant.fingerprint)
            for i in self.instances
        )

    @property
    def is_over(self):
        return self.experiment.status in {"Completed", "Cancelled"}

    @property
    def rests(self):
        return (
            self.is_over
            and self.endpoint.status == "InService"
            and all(i.status == "InService" for i in self.instances)
            and not self.planned()
        )

    def planned(self):
        released = frozenset(i.id for i in self.instances if i.status == "Draining")
        observed = Observed(self.instances, released, cores=self.cores)
        return plan_endpoint(self.endpoint, observed, self.now_s)

    # --- What happens -----------------------------------------------------------------------------

    def happens(self, what):
        self.now_s += STEP_S
        self.instances = [self.moved_on(i, fails=what == "starts fail") for i in self.instances]
        serving = [i for i in self.instances if i.status == "InService"]
        if what == "one dies" and serving:
            dead = serving[self.number % len(serving)]
            self.replace(dead, status="Failed", ended_at_s=self.now_s, reason="exited")
        elif self.experiment.status == "Running" and self.endpoint.status == "InService":
            self.user(what)

    def moved_on(self, instance, *, fails):
        if instance.status not in {"Pending", "Starting"}:
            return instance
        if fails:
            return msgspec.structs.replace(
                instance, status="Failed", ended_at_s=self.now_s, reason="It did not start."
            )
        return msgspec.structs.replace(instance, status="InService")

    def replace(self, instance, **changes):
        changed = msgspec.structs.replace(instance, **changes)
        self.instances = [changed if i.id == instance.id else i for i in self.instances]

    def user(self, what):
        """What StopInferenceExperiment and UpdateInferenceExperiment make of a running test."""
        plan, running = self.experiment.plan, self.endpoint.desired
        targets = {
            "Remove": lambda: plan.former,
            "Retain": lambda: retained_spec(running),
            "Promote": lambda: promoted_spec(running),
        }
        if what in targets:
            self.end(Ending("Completed", "", targets[what](), "B", self.now_s))
        elif what == "sampling":
            plan = msgspec.structs.replace(
                plan, sampling_percentage=7, resume_status=self.experiment.status
            )
            self.set_status("Updating", plan=plan)
            self.update(test_spec(self.experiment, plan.former, "sampled", 0.0))

    # --- What the loops do ------------------------------------------------------------------------

    def set_status(self, status, **changes):
        EXPERIMENT.check(self.experiment.status, status)
        self.experiment = msgspec.structs.replace(self.experiment, status=status, **changes)

    def update(self, desired):
        ENDPOINT.check(self.endpoint.status, "Updating")
        self.endpoint = msgspec.structs.replace(
            self.endpoint,
            status="Updating",
            desired=desired,
            failure_reason="",
            changing_since_s=self.now_s,
        )

    def end(self, ending):
        plan = msgspec.structs.replace(self.experiment.plan, ending=ending)
        if self.experiment.status == "Stopping":
            self.experiment = msgspec.structs.replace(self.experiment, plan=plan)
        else:
            self.set_status("Stopping", plan=plan)
        self.update(msgspec.structs.replace(ending.target, barriers=(ending.barrier_id,)))

    def look_at_the_experiment(self):
        endpoint = self.endpoint
        view = EndpointView(
            endpoint.status, endpoint.failure_reason, endpoint.desired, endpoint.serving
        )
        if self.is_over:
            return
        for action in plan_experiment(
            self.experiment, view, self.missing, self.now_s, self.now_s, "B"
        ):
            match action:
                case SetStatus(status, reason):
                    changes = {} if reason is None else {"status_reason": reason}
                    self.set_status(status, **changes)
                case CheckModelData():
                    self.set_status("Created")
                case BeginTest():
                    plan = msgspec.structs.replace(self.experiment.plan, former=endpoint.desired)
                    self.experiment = msgspec.structs.replace(self.experiment, plan=plan)
                    self.update(test_spec(self.experiment, endpoint.desired, "test", 0.0))
                case EndTest(ending):
                    self.end(ending)

    def look_at_the_endpoint(self):
        before = [(v, min(v.count, self.healthy(v))) for v in self.endpoint.serving.production]
        served = {(v.id, v.fingerprint) for v in self.endpoint.serving.variants}
        serving = self.endpoint.serving
        for action in self.planned():
            self.carry_out(action)
        for variant, count in before if self.endpoint.serving is serving else ():
            assert min(variant.count, self.healthy(variant)) >= count
        for variant in self.endpoint.serving.production:
            # At a switch: all there, or as little of it as there was before.
            is_old = (variant.id, variant.fingerprint) in served
            assert is_old or self.healthy(variant) >= variant.count

    def carry_out(self, action):
        changes = {}
        match action:
            case StartInstance(variant, light):
                self.instances.append(self.instance(variant, "Pending", light=light))
            case DrainInstance(id_):
                self.replace(next(i for i in self.instances if i.id == id_), status="Draining")
            case StopInstance(id_):
                self.instances = [i for i in self.instances if i.id != id_]
            case Serve():
                changes = {"serving": self.endpoint.desired, "changing_since_s": self.now_s}
            case Settle():
                changes = {"status": "InService"}
            case FailChange(reason):
                changes = {
                    "status": "InService",
                    "failure_reason": reason,
                    "desired": self.endpoint.serving,
                }
        self.endpoint = msgspec.structs.replace(self.endpoint, **changes)

    def step(self, what="nothing"):
        self.happens(what)
        self.look_at_the_experiment()
        self.look_at_the_endpoint()
        self.instances = [
            i
            for i in self.instances
            if i.status != "Failed" or self.now_s - i.ended_at_s < 2 * BARRIER_TIME_LIMIT_S
        ]


@st.composite
def worlds(draw):
    production = a_variant(
        count=draw(COUNTS),
        instance_type=draw(TYPES),
        weight=draw(st.sampled_from([0.0, 1.0])),
    )
    plain = a_variant("Plain", weight=0.5) if production.weight else None
    spec = a_spec(production, shadow=draw(st.sampled_from([None, plain])), config_name="former")
    plan = a_plan(
        starts_at_s=draw(st.sampled_from([0.0, 50.0])),
        ends_at_s=ENDS_AT_S,
    )
    plan = msgspec.structs.replace(
        plan,
        production=msgspec.structs.replace(
            plan.production, count=draw(COUNTS), instance_type=draw(TYPES)
        ),
        shadow=msgspec.structs.replace(plan.shadow, count=draw(COUNTS), instance_type=draw(TYPES)),
    )
    return World(
        spec, plan, "Creating", missing=draw(st.integers(0, 1)), cores=draw(st.integers(1, 6))
    )


@settings(max_examples=200, deadline=None)
@given(worlds(), DURING, STOPS, AFTER)
def test_whatever_happens_the_test_ends_and_production_is_never_less(world, during, stop, after):
    for what in during:
        world.step(what)
    for _ in range(10):
        if world.experiment.status != "Running" or world.endpoint.status != "InService":
            world.step()
    for what in [stop, *after]:
        world.step(what)
    for _ in range(MAX_STEPS):
        if world.rests:
            break
        world.step()
    else:
        raise AssertionError(f"{world.experiment.status}, {world.endpoint}: it does not rest")
    assert world.endpoint.serving == world.endpoint.desired
    assert world.endpoint.desired.experiment is None
    for variant in world.endpoint.desired.variants:
        assert world.healthy(variant) == variant.count
    assert len(world.instances) == sum(v.count for v in world.endpoint.desired.variants)
    if world.experiment.status == "Cancelled":
        assert world.experiment.status_reason


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(st.sampled_from(["nothing", "one dies", "sampling"]), max_size=40))
def test_a_test_that_its_schedule_ends_leaves_the_endpoint_as_it_was(world, happenings):
    for what in [*happenings, *["nothing"] * MAX_STEPS]:
        world.step(what)
        if world.rests:
            break
    if world.experiment.status == "Completed":
        assert world.experiment.plan.former == world.former
        assert msgspec.structs.replace(world.endpoint.desired, barriers=()) == world.former
