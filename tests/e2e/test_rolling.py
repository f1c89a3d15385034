"""All that changes what runs, under constant traffic on two cores: nothing is lost on the way.

How many instances were healthy is read from the events. They are written in the transactions that
tell the routers, so that they hold for every moment, not for those at which somebody looked.
"""

import os
from collections import Counter
from dataclasses import dataclass

import pytest

from gnomon.testing.processes import ROLE, EchoModels, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]

RATE = 80.0
PRODUCTION, SHADOW = "AllTraffic", "Shadow"
MODELS = ("roll-prod", "roll-next", "roll-tried", "roll-taken")
TESTS = ("reverted", "promoted")


@dataclass
class Step:
    """One change. `old`: the healthy instances of production before it. `new`: those of what is
    production after it, without the old ones. `least`: how many of either are to be healthy.
    """

    name: str
    old: set
    new: set
    variant: str
    least: int
    events: list


class Rolling:
    """An endpoint that is changed step by step, and what happened at each."""

    def __init__(self, gnomon, echo):
        self.gnomon, self.echo = gnomon, echo
        self.production = PRODUCTION
        self.events = []
        self.steps = []
        self.look()

    def look(self):
        """The events since the last look, oldest first."""
        found = self.gnomon.get(f"/events?limit=1000&name={self.echo.name}")
        assert len(found) < 1000
        fresh = found[::-1][len(self.events) :]
        self.events += fresh
        return [event for event in fresh if event["kind"] == "instance"]

    def healthy(self, variant):
        last = {e["id"]: e for e in self.events if e["kind"] == "instance"}
        name = f"{self.echo.name}/{variant}"
        return {i for i, e in last.items() if (e["name"], e["after"]) == (name, "InService")}

    def step(self, traffic, name, change, counts, least, production=PRODUCTION):
        """`counts`: how many of each variant are to run in the end."""
        self.look()
        old = self.healthy(self.production)
        step = Step(name, old, self.healthy(production) - old, production, least, [])
        self.production = production
        change()
        self.gnomon.wait(lambda: self.is_settled(counts), name, 120)
        answered = len(traffic.answered)
        self.gnomon.wait(lambda: len(traffic.answered) > answered + 40, "traffic")
        step.events = self.look()
        self.steps.append(step)

    def is_settled(self, counts):
        status = self.gnomon.get("/status")
        (endpoint,) = status["endpoints"]
        living = [i for i in status["instances"] if i["status"] != "Failed"]
        return (
            endpoint["status"] == "InService"
            and all(i["status"] == "InService" for i in living)
            and Counter(i["variant"] for i in living) == counts
            and not any(i["light"] for i in living if i["variant"] == self.production)
        )

    def update(self):
        self.echo.sagemaker.create_endpoint_config(
            EndpointConfigName="next",
            ProductionVariants=[
                {
                    "VariantName": PRODUCTION,
                    "ModelName": "roll-next",
                    "InstanceType": "ml.m5.xlarge",
                    "InitialInstanceCount": 3,
                }
            ],
        )
        self.echo.sagemaker.update_endpoint(EndpointName=self.echo.name, EndpointConfigName="next")

    def scale(self, count):
        self.echo.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.echo.name,
            DesiredWeightsAndCapacities=[
                {"VariantName": PRODUCTION, "DesiredInstanceCount": count}
            ],
        )

    def begin(self, test, model, count):
        self.echo.sagemaker.create_inference_experiment(
            Name=test,
            Type="ShadowMode",
            RoleArn=ROLE,
            EndpointName=self.echo.name,
            ModelVariants=[
                self.echo._variant("roll-next", PRODUCTION, count),
                self.echo._variant(model, SHADOW, count),
            ],
            ShadowModeConfig=share(50),
        )
        self.until(test, "Running")

    def sample(self, test, percentage):
        self.echo.sagemaker.update_inference_experiment(
            Name=test, ShadowModeConfig=share(percentage)
        )
        self.until(test, "Running")

    def stop(self, test, production, shadow):
        self.echo.sagemaker.stop_inference_experiment(
            Name=test,
            ModelVariantActions={PRODUCTION: production, SHADOW: shadow},
            DesiredState="Completed",
        )
        self.until(test, "Completed")

    def until(self, test, status):
        def reached():
            found = self.echo.sagemaker.describe_inference_experiment(Name=test)
            return found["Status"] == status

        self.gnomon.wait(reached, f"{test} {status}", 120)


def share(percentage):
    return {
        "SourceModelVariantName": PRODUCTION,
        "ShadowModelVariants": [
            {"ShadowModelVariantName": SHADOW, "SamplingPercentage": percentage}
        ],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Every change once, while traffic runs from the first to the last."""
    path = tmp_path_factory.mktemp("rolling")
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    with running_gnomon(
        path / "g",
        wrapper=("taskset", "-c", cores),
        GNOMON_SERVER_ROUTERS="2",
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as gnomon:
        echo = EchoModels(gnomon, path, "roll")
        echo.endpoint(count=3, SEEN=str(path / "seen-roll-prod"))
        for model in MODELS[1:]:
            echo.model(model, SEEN=str(path / f"seen-{model}"))
        run = Rolling(gnomon, echo)
        three, beside = {PRODUCTION: 3}, {PRODUCTION: 2, SHADOW: 2}
        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "roll", RATE) as traffic:

            def step(*arguments, **members):
                run.step(traffic, *arguments, **members)

            gnomon.wait(lambda: len(traffic.answered) > 40, "traffic before")
            step("update", run.update, three, 3)
            step("scale up", lambda: run.scale(4), {PRODUCTION: 4}, 3)
            step("scale down", lambda: run.scale(2), {PRODUCTION: 2}, 2)
            step("test", lambda: run.begin("reverted", "roll-tried", 2), beside, 2)
            step("more", lambda: run.sample("reverted", 100), beside, 2)
            step("less", lambda: run.sample("reverted", 10), beside, 2)
            step("revert", lambda: run.stop("reverted", "Retain", "Remove"), {PRODUCTION: 2}, 2)
            step("test again", lambda: run.begin("promoted", "roll-taken", 2), beside, 2)
            step(
                *("promote", lambda: run.stop("promoted", "Remove", "Promote"), {SHADOW: 2}, 2),
                production=SHADOW,
            )
        run.flights, run.failures, run.answered = (
            traffic.flights,
            traffic.failures,
            traffic.answered,
        )

        def counted():
            found = gnomon.get("/endpoints/roll/metrics")["variants"]
            return sum(variant["invocations"] for variant in found.values())

        def reports():
            return [gnomon.get(f"/experiments/{test}/report")["mirror"] for test in TESTS]

        run.by_models = {model: echo.answered(model) for model in MODELS}
        # The last counts arrive a second after the last answer.
        gnomon.wait(lambda: counted() >= sum(run.by_models.values()), "counts")
        run.mirrors, run.counted = reports(), counted()
        run.seen = {
            model: Counter(map(int, (path / f"seen-{model}").read_text().split()))
            for model in MODELS
        }
    return run


def test_no_request_fails(run):
    assert run.failures == []
    assert len(run.answered) == len(run.flights)


def test_the_three_counts_agree_exactly(run):
    mirrored = sum(mirror["mirrored"] for mirror in run.mirrors)
    assert mirrored > 0
    assert run.counted == len(run.flights) + mirrored
    assert sum(run.by_models.values()) == len(run.flights) + mirrored
    # Each by its number, too: a copy is the only second answer, and its model is not production.
    assert all(set(seen.values()) == {1} for seen in run.seen.values())
    total = sum(run.seen.values(), Counter())
    assert set(total) == {flight.number for flight in run.flights}
    assert sum(count - 1 for count in total.values()) == mirrored


def test_no_copy_is_dropped(run):
    assert [mirror["dropped"] for mirror in run.mirrors] == [{}, {}]


def test_production_never_has_fewer_healthy_instances_than_before_or_than_are_wanted(run):
    for step in run.steps:
        lowest = max(len(step.old), len(step.new))
        for event in step.events:
            if event["after"] == "InService":
                if event["name"] == f"roll/{step.variant}":
                    step.new.add(event["id"])
            else:
                step.old.discard(event["id"])
                step.new.discard(event["id"])
            lowest = min(lowest, max(len(step.old), len(step.new)))
        assert lowest >= step.least, step.name


def test_on_two_cores_instances_start_one_at_a_time(run):
    starting, most = set(), 0
    for event in run.events:
        if event["kind"] != "instance":
            continue
        starting.discard(event["id"])
        if event["after"] in {"Pending", "Starting"}:
            starting.add(event["id"])
        most = max(most, len(starting))
    assert most == 1
    # Three at first, three of the update, one more, two shadows of either test, and two of normal
    # weight for the promoted ones: nothing was started that was not needed.
    started = Counter(e["name"] for e in run.events if e["after"] == "Pending")
    assert started == {f"roll/{PRODUCTION}": 7, f"roll/{SHADOW}": 6}


def test_a_changed_share_touches_no_instance(run):
    steps = {step.name: step for step in run.steps}
    assert [steps["more"].events, steps["less"].events] == [[], []]
