"""Control dies at every boundary of every action, and the end is the same as if it had not.

A scenario takes control through all that it does. In each run it dies once, at one boundary,
while a real router answers from its snapshot; the next life takes up what is unfinished. What is
the same: the rows of the state database, the routing snapshot, the instances that run, how often
each was started, the course that endpoints and experiments took, and one captured record for each
request under the test. No request fails.
"""

import asyncio
import contextlib
import datetime as dt
import json
import re
import shutil
from collections import Counter
from typing import get_args

import msgspec
import pytest
from sqlalchemy import select

from gnomon.control.actions import (
    DrainInstance,
    EndpointAction,
    ExperimentAction,
    Serve,
    SetStatus,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.hosting.host import InstanceSpec
from gnomon.hosting.images import Command
from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT
from gnomon.store.database import Database, sqlite_url
from gnomon.store.state import routing, tables
from gnomon.store.state.instances import events_of, instances_of
from gnomon.store.state.resources import ENDPOINT_CONFIGS, ENDPOINTS, EXPERIMENTS, MODELS
from gnomon.store.telemetry import queries
from gnomon.testing.analyses import ANALYSIS_ID
from gnomon.testing.fake_host import FakeHost, FakeMachine
from gnomon.testing.faults import (
    INTENT_MOMENTS,
    MOMENTS,
    Boundary,
    ControlDied,
    Faults,
    Life,
    MortalDatabase,
    MortalHost,
)
from gnomon.testing.lives import machine_with_lives, make_databases
from gnomon.testing.requests import (
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
    shadow_mode,
)
from gnomon.testing.router_rig import until

ACTIONS = get_args(EndpointAction | ExperimentAction)
DESTINATION = "s3://bucket/faults"

# How often the scenario reaches the boundaries of an action; those not named, once.
TIMES = {Serve: 4, Settle: 4, SetStatus: 4, DrainInstance: 2, StartInstance: 2, StopInstance: 2}
# A start that is intended and fails before the host is asked is one more.
INTENDED_TIMES = {StartInstance: 3, StopInstance: 2}

EVERY_BOUNDARY = [
    Boundary(action, moment, time)
    for action in ACTIONS
    for moment in MOMENTS
    for time in range(1, TIMES.get(action, 1) + 1)
] + [
    Boundary(action, moment, time)
    for action, times in INTENDED_TIMES.items()
    for moment in INTENT_MOMENTS
    for time in range(1, times + 1)
]
FIRST = [boundary for boundary in EVERY_BOUNDARY if boundary.time == 1]
LATER = [boundary for boundary in EVERY_BOUNDARY if boundary.time > 1]


# What the first scenario has not: a rolling update, whose old instance is drained when all is said,
# and a promotion, after which instances of low CPU weight serve on until others are there.
PROMOTION = (
    [
        Boundary(StartInstance, moment, time)
        for moment in (*MOMENTS, *INTENT_MOMENTS)
        for time in (2, 4)
    ]
    + [
        Boundary(StopInstance, moment, time)
        for moment in (*MOMENTS, *INTENT_MOMENTS)
        for time in (1, 2, 3)
    ]
    + [Boundary(DrainInstance, moment, time) for moment in MOMENTS for time in (1, 2, 3)]
    + [
        Boundary(action, moment, time)
        for action in (Serve, Settle)
        for moment in MOMENTS
        for time in (2, 4)
    ]
    + [Boundary(SetStatus, moment, 2) for moment in MOMENTS]
)


class Outcome:
    """What is compared, and what is counted, of one run."""

    def __init__(self, faults):
        self.faults = faults
        self.states = {}


async def scenario(lives, outcome):
    """An endpoint; an update that fails; a test by its schedule, changed on the way; the end."""
    await make_endpoint(lives)
    await make_model(lives, "shad")
    await make_model(lives, "bad", "s3://bucket/gone.tar.gz")
    await make_config(lives, "bad-config", "bad")
    async with lives.traffic("ep"):
        await lives.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="bad-config")
        await lives.until_endpoint("ep", "InService")
        outcome.states["failed"] = await state_of(lives)
        request = experiment_request(
            Schedule={"StartTime": from_now(lives, 600), "EndTime": from_now(lives, 6000)},
            DataStorageConfig={"Destination": DESTINATION},
        )
        await lives.call("CreateInferenceExperiment", **request)
        await lives.until_experiment("exp", "Created")
        await lives.pass_time(601)
        await lives.until_experiment("exp", "Running")
        await lives.call("UpdateInferenceExperiment", Name="exp", ShadowModeConfig=shadow_mode(100))
        await lives.until_experiment("exp", "Running")
        outcome.states["running"] = await state_of(lives)
        await lives.until_answered(5)
        await lives.pass_time(6000)
        await lives.until_experiment("exp", "Completed")
        await note_records(lives, outcome)
        outcome.states["completed"] = await state_of(lives)
        await lives.until_answered(5)
    await lives.call("DeleteEndpoint", EndpointName="ep")

    async def is_gone():
        return not (await lives.call("ListEndpoints"))["Endpoints"]

    await lives.until(is_gone, "the end of the endpoint")
    outcome.states["gone"] = await state_of(lives)


async def promotion(lives, outcome):
    """A rolling update, then a test without a schedule, whose shadow becomes production."""
    await make_endpoint(lives, model="old")
    await make_model(lives, "prod")
    await make_model(lives, "shad")
    await make_config(lives, "new-config", "prod")
    request = experiment_request(
        ShadowModeConfig=shadow_mode(100), DataStorageConfig={"Destination": DESTINATION}
    )
    async with lives.traffic("ep"):
        await lives.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="new-config")
        await lives.until_endpoint("ep", "InService")
        outcome.states["updated"] = await state_of(lives)
        await lives.call("CreateInferenceExperiment", **request)
        await lives.until_experiment("exp", "Running")
        await lives.until_answered(8)
        await lives.call(
            "StopInferenceExperiment",
            Name="exp",
            ModelVariantActions={"AllTraffic": "Remove", "Shadow-01": "Promote"},
            DesiredState="Completed",
        )
        await lives.until_experiment("exp", "Completed")
        await note_records(lives, outcome)

        async def is_of_normal_weight():
            running = [lives.machine.instances[id_].spec for id_ in lives.machine.running()]
            return [(spec.variant_name, spec.light) for spec in running] == [("Shadow-01", False)]

        await lives.until(is_of_normal_weight, "an instance of normal weight, alone")
        outcome.states["promoted"] = await state_of(lives)
        await lives.until_answered(5)


async def note_records(lives, outcome):
    """What is readable at the moment in which the test is shown as Completed."""
    outcome.captured = lives.captured(DESTINATION)
    outcome.answered = list(lives.answered)
    shadows = {
        spec.instance_id for spec in lives.machine.starts if spec.variant_name != "AllTraffic"
    }
    outcome.mirrored = Counter(int(body) for id_, body in lives.machine.answers if id_ in shadows)
    async with lives.state.reading() as connection:
        (experiment,) = await EXPERIMENTS.all(connection)
    async with lives.telemetry.reading() as connection:
        outcome.pairs = (await queries.pair_state(connection, experiment.id, ANALYSIS_ID)).pairs


async def state_of(lives):
    """Everything there is when nothing is under way, but for ids, times, ports and versions."""
    await lives.until_at_rest()
    async with lives.state.reading() as connection:
        instances = await instances_of(connection)
        running = [i for i in instances if i.id in lives.machine.running()]
        captures = await connection.execute(select(tables.captures.c.definition))
        state = {
            "models": await MODELS.all(connection),
            "configs": await ENDPOINT_CONFIGS.all(connection),
            "endpoints": await ENDPOINTS.all(connection),
            "experiments": await EXPERIMENTS.all(connection),
            "captures": list(captures.scalars()),
            "running": sorted(running, key=lambda i: (i.variant_name, i.id)),
            "snapshot": sorted(lives.known(), key=lambda endpoint: endpoint.name),
            "course": {
                kind: [
                    (event.name, event.before, event.after, event.reason)
                    for event in reversed(await events_of(connection))
                    if event.kind == kind
                ]
                for kind in (ENDPOINT.name, EXPERIMENT.name)
            },
            # An intent that no host heard of was never an instance.
            "ended": sorted(
                (i.variant_name, i.status)
                for i in instances
                if i.id in lives.machine.instances and i not in running
            ),
            "starts": sorted((s.variant_name, s.light) for s in lives.machine.starts),
        }
    ids = [spec.instance_id for spec in lives.machine.starts]
    assert len(ids) == len(set(ids)), "an instance was started twice"
    return json.loads(anonymous(json.dumps(msgspec.to_builtins(state), sort_keys=True)))


def anonymous(text):
    """Each id becomes a number, in the order in which they appear."""
    names = {}
    text = re.sub(r'"(\w+_s|port|version|left_version)": [0-9.]+', r'"\1": 0', text)
    text = re.sub(r"\bexp-[0-9a-f]{8}\b", "exp-config", text)
    return re.sub(
        r"\b([0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{32})\b",
        lambda found: names.setdefault(found[0], f"id {len(names)}"),
        text,
    )


def from_now(lives, seconds):
    return dt.datetime.fromtimestamp(lives.clock.now_s() + seconds, dt.UTC)


def numbers(records):
    return Counter(int(record["eventMetadata"]["inferenceId"]) for record in records)


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    path = tmp_path_factory.mktemp("databases")
    asyncio.run(make_databases(path))
    return path


def run(databases, path, target=None, scenario=scenario):
    shutil.copytree(databases, path, dirs_exist_ok=True)
    outcome = Outcome(Faults(target))

    async def play():
        async with machine_with_lives(path, outcome.faults) as lives:
            outcome.lives = lives
            await scenario(lives, outcome)

    asyncio.run(play())
    return outcome


@pytest.fixture(scope="module")
def undisturbed(databases, tmp_path_factory):
    return run(databases, tmp_path_factory.mktemp("undisturbed"))


def test_the_scenario_reaches_every_boundary_as_often_as_the_tests_say(undisturbed):
    reached = Counter((boundary.action, boundary.moment) for boundary in EVERY_BOUNDARY)
    # A pass that comes round again before a stop is recorded plans it again: at least so often.
    assert reached <= undisturbed.faults.reached
    assert set(reached) == set(undisturbed.faults.reached)
    assert {boundary.action for boundary in FIRST} == set(ACTIONS)
    assert undisturbed.lives.lives == 1
    check_whole(undisturbed)


@pytest.mark.parametrize("boundary", FIRST, ids=str)
def test_after_a_death_at_any_boundary_the_end_is_the_same(
    databases, tmp_path, undisturbed, boundary
):
    check(run(databases, tmp_path, boundary), undisturbed, check_whole)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", LATER, ids=str)
def test_a_death_the_next_time_is_no_different(databases, tmp_path, undisturbed, boundary):
    check(run(databases, tmp_path, boundary), undisturbed, check_whole)


@pytest.fixture(scope="module")
def promoted(databases, tmp_path_factory):
    return run(databases, tmp_path_factory.mktemp("promoted"), None, promotion)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", PROMOTION, ids=str)
def test_an_update_and_a_promotion_end_the_same(databases, tmp_path, promoted, boundary):
    check(run(databases, tmp_path, boundary, promotion), promoted, check_records)


async def held(lives, outcome):
    """Control dies when the test runs, and is away when its schedule ends."""
    await make_endpoint(lives)
    await make_model(lives, "shad")
    request = experiment_request(
        Schedule={"StartTime": from_now(lives, 0), "EndTime": from_now(lives, 6000)},
        ShadowModeConfig=shadow_mode(100),
        DataStorageConfig={"Destination": DESTINATION},
    )
    async with lives.traffic("ep"):
        lives.may_return.clear()
        await lives.call("CreateInferenceExperiment", **request)
        await until(lambda: outcome.faults.has_struck)
        await lives.until_answered(10)
        lives.clock.shift_s += 6001
        await lives.until_answered(2)
        outcome.copies = [len(set(lives.machine.answers))]
        await lives.until_answered(10)
        outcome.copies.append(len(set(lives.machine.answers)))
        lives.may_return.set()
        await lives.until_experiment("exp", "Completed")
        await note_records(lives, outcome)
        outcome.states["completed"] = await state_of(lives)


def test_a_schedule_that_ends_while_control_is_away_ends_the_test(databases, tmp_path):
    outcome = run(databases, tmp_path, Boundary(SetStatus, "recorded", 1), held)
    assert outcome.lives.lives == 2
    check_records(outcome)
    before, after = outcome.copies
    # Ten requests and no copy: the router knows the end.
    assert 10 <= after - before < 15
    assert [i["variant_name"] for i in outcome.states["completed"]["running"]] == ["AllTraffic"]


def check(outcome, undisturbed, check_run):
    assert outcome.faults.has_struck, "control never came to where it was to die"
    assert outcome.lives.lives == 2
    check_run(outcome)
    for name, state in undisturbed.states.items():
        assert outcome.states[name] == state, name


def check_records(outcome):
    """No request failed; records are one to one with what was answered under the test."""
    assert outcome.lives.failures == []
    production, shadow = (numbers(outcome.captured[name]) for name in ("AllTraffic", "Shadow-01"))
    assert set(production.values()) == set(shadow.values()) == {1}
    surely = {sent.number for sent in outcome.answered if sent.began and sent.ended}
    perhaps = {sent.number for sent in outcome.answered if sent.began or sent.ended}
    assert len(surely) > 5
    assert surely <= set(production) <= perhaps
    assert outcome.pairs == shadow.total() > 5
    assert shadow <= production
    assert shadow <= outcome.mirrored


def check_whole(outcome):
    check_records(outcome)
    assert numbers(outcome.captured["Shadow-01"]) == outcome.mirrored
    assert outcome.lives.machine.running() == set()


async def test_a_dead_life_reaches_nothing(databases, tmp_path):
    """What the tests above stand on: no commit, no start, whatever its tasks still do."""
    shutil.copytree(databases, tmp_path, dirs_exist_ok=True)
    url = sqlite_url(tmp_path / "state.db")
    life = Life(Faults(Boundary(StartInstance, "before")))
    database = MortalDatabase(url, life)
    machine = FakeMachine()
    host = MortalHost(FakeHost(machine), life)
    spec = InstanceSpec("i", "ep", "AllTraffic", Command(("true",)), tmp_path)
    with pytest.raises(ControlDied):
        async with database.writing() as connection:
            await routing.next_version(connection)
            with contextlib.suppress(ControlDied):
                await host.start(spec)
    for use in (lambda: host.start(spec), lambda: host.stop("i"), lambda: host.adopt("i")):
        with pytest.raises(ControlDied):
            await use()
    with pytest.raises(ControlDied):
        async with database.reading():
            pass
    await database.close()
    assert machine.starts == []
    living = Database(url)
    async with living.reading() as connection:
        assert await routing.current_version(connection) == 0
    await living.close()
