"""Everything dies, again and again, under constant traffic; what may fail and be lost is counted.

A request is in flight at a kill if its first byte was sent before the process was seen dead, and
its answer was not complete when the signal was sent.
"""

import os
from collections import Counter

import psutil
import pytest

from gnomon.testing import reliability
from gnomon.testing.chaos import (
    COLLECTOR,
    CONTROL,
    KINDS,
    PRODUCTION,
    ROUTER,
    SHADOW,
    Chaos,
    instance_pid,
    pids,
)
from gnomon.testing.processes import EchoModels, running_gnomon
from gnomon.testing.raw_traffic import RawTraffic
from gnomon.testing.reliability import Measured, failures, record

# Instances that are killed often wait up to 30 s for their turn.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.fault,
    pytest.mark.timeout(420),
]

SEED = int(os.environ.get("CHAOS_SEED", "20191120"))
KILLS = 8
RATE = 100.0
DESTINATION = "s3://bucket/chaos"

# What a router that is killed may lose (docs/architecture.md): captures and pairs of so long
# before, and counts.
FRAMES_S = 0.2
COUNTS_S = 1.2
# A copy may be answered so much later than its request, on a machine that is busy restarting.
COPY_S = 1.0


def near(flight, kills, before_s=0.0):
    """Whether the request was open, or ended at most `before_s` earlier, when one of these died."""
    return any(flight.was_open(kill.from_s - before_s, kill.to_s) for kill in kills)


def before(flight, kills):
    """The kills shortly before a request, for whoever looks for what failed it."""
    return [
        (kill.kind, flight.began_s - kill.to_s)
        for kill in kills
        if 0 < flight.began_s - kill.from_s < 2
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One endpoint's test from Running to Completed, with all the kills."""
    path = tmp_path_factory.mktemp("chaos")
    with running_gnomon(
        path / "g",
        GNOMON_SERVER_ROUTERS="2",
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as gnomon:
        echo = EchoModels(gnomon, path, "chaos")
        echo.endpoint(count=3, SEEN=str(path / "seen-production"))
        echo.model("chaos-shad", SEEN=str(path / "seen-shadow"))
        echo.experiment(50, count=3, shadow_count=2, DataStorageConfig={"Destination": DESTINATION})
        chaos = Chaos(gnomon, "chaos", {"AllTraffic": 3, "Shadow-01": 2}, SEED)
        port = int(gnomon.url.rpartition(":")[2])
        with RawTraffic(port, "chaos", RATE) as traffic:
            gnomon.wait(lambda: len(traffic.answered) > 100, "traffic before")
            chaos.run(KILLS)
            after = len(traffic.flights)
            gnomon.wait(lambda: len(traffic.flights) > after + 100, "traffic after")
        run = Run()
        run.chaos, run.flights = chaos, {flight.number: flight for flight in traffic.flights}
        run.failures, run.answered = traffic.failures, traffic.answered
        run.late = traffic.late
        run.instances = [
            i["id"] for i in gnomon.get("/status")["instances"] if i["status"] == "InService"
        ]
        run.expected_pids = {*pids(gnomon).values()} | {
            instance_pid(gnomon, instance) for instance in run.instances
        }
        run.pids = {
            process.pid
            for process in psutil.Process(gnomon.process.pid).children(recursive=True)
            if process.status() != psutil.STATUS_ZOMBIE
        }
        echo.stop()
        run.report = echo.report()
        run.captured = echo.captured(DESTINATION)
        run.seen = {
            PRODUCTION: numbers(path / "seen-production"),
            SHADOW: numbers(path / "seen-shadow"),
        }
    return run


class Run:
    """What was seen of it."""


def numbers(path):
    return [int(line) for line in path.read_text().split()]


def captured_numbers(records):
    return [int(record["eventMetadata"]["inferenceId"]) for record in records]


def test_each_kind_was_killed_often_and_is_whole_again(run):
    assert {kind: len(run.chaos.of(kind)) for kind in KINDS} == dict.fromkeys(KINDS, KILLS)
    assert all(kill.whole_s is not None for kill in run.chaos.kills)


def test_nothing_fails_but_what_was_in_flight_in_what_died(run):
    deadly = run.chaos.of(ROUTER, PRODUCTION)
    unexplained = [flight for flight in run.failures if not near(flight, deadly)]
    assert [(flight, before(flight, run.chaos.kills)) for flight in unexplained] == []
    for kill in deadly:
        open_then = [f for f in run.flights.values() if f.was_open(kill.from_s, kill.to_s)]
        failed = [f for f in run.failures if f.was_open(kill.from_s, kill.to_s)]
        assert len(failed) <= len(open_then)


def test_no_request_is_answered_by_two_instances(run):
    for model, seen in run.seen.items():
        assert [number for number, count in Counter(seen).items() if count > 1] == [], model


def test_production_records_are_one_to_one_but_for_what_a_killed_router_held(run):
    found = Counter(captured_numbers(run.captured["AllTraffic"]))
    assert [number for number, count in found.items() if count > 1] == []
    assert set(found) <= set(run.flights)
    routers = run.chaos.of(ROUTER)
    missing = [flight for flight in run.answered if flight.number not in found]
    assert [flight for flight in missing if not near(flight, routers, FRAMES_S)] == []


def test_shadow_records_are_one_to_one_but_for_what_the_killed_held(run):
    records = run.captured["Shadow-01"]
    found = Counter(captured_numbers(records))
    assert [number for number, count in found.items() if count > 1] == []
    missing = [run.flights[number] for number in run.seen[SHADOW] if number not in found]
    unexplained = [
        flight
        for flight in missing
        if not near(flight, run.chaos.of(ROUTER), FRAMES_S + COPY_S)
        and not near(flight, run.chaos.of(SHADOW), COPY_S)
    ]
    assert unexplained == []
    events = {r["eventMetadata"]["eventId"] for r in run.captured["AllTraffic"]}
    alone = [r for r in records if r["eventMetadata"]["eventId"] not in events]
    # A shadow may answer first: then a router can die with production's record alone.
    flights = [run.flights[number] for number in captured_numbers(alone)]
    assert [f for f in flights if not near(f, run.chaos.of(ROUTER), FRAMES_S)] == []


def test_the_three_counts_agree_but_for_the_last_counts_of_killed_routers(run):
    routers = run.chaos.of(ROUTER)
    answered = {flight.number for flight in run.answered}
    assert answered <= set(run.seen[PRODUCTION])
    counted = run.report["production"]["invocations"]
    lost = [f for f in run.flights.values() if near(f, routers, COUNTS_S)]
    assert len(run.flights) - len(lost) <= counted <= len(run.flights)


def test_half_of_the_requests_were_mirrored(run):
    mirror = run.report["mirror"]
    deviation = (mirror["candidates"] * 0.25) ** 0.5
    assert abs(mirror["sampled"] - mirror["candidates"] / 2) < 5 * deviation


def test_the_report_shows_a_gap_for_each_killed_router_and_for_nothing_else(run):
    gaps = [gap["at_s"] for gap in run.report["gaps"]]
    kills = [kill.at_s for kill in run.chaos.of(ROUTER)]
    assert len(gaps) == len(kills)
    for gap, kill in zip(gaps, kills, strict=True):
        assert kill - 2 < gap < kill + 1
    assert run.report["lost"] == {"captures": 0, "pairs": 0}


def test_the_report_says_how_long_which_instance_was_away(run):
    away = Counter(absence["variant_name"] for absence in run.report["away"])
    # Each death of an instance, and nothing else; all of them have been replaced.
    assert away == {"AllTraffic": KILLS, "Shadow-01": KILLS}
    kills = sorted(kill.at_s for kill in run.chaos.of(PRODUCTION, SHADOW))
    for absence, kill in zip(run.report["away"], kills, strict=True):
        assert kill < absence["at_s"] + 1
        assert 0 < absence["away_s"] < 90


def test_nothing_was_started_twice_and_nothing_is_left_over(run):
    assert len(run.instances) == 5
    assert run.pids == run.expected_pids


FAULTS = {
    CONTROL: reliability.CONTROL_KILLED,
    ROUTER: reliability.ROUTER_KILLED,
    COLLECTOR: reliability.COLLECTOR_KILLED,
    PRODUCTION: reliability.PRODUCTION_KILLED,
    SHADOW: reliability.SHADOW_KILLED,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_costs_is_recorded(run, kind):
    kills = run.chaos.of(kind)
    # Kills overlap: what was in flight in a router or an instance is laid at its door.
    deadly = {ROUTER, PRODUCTION} & {kind}
    failed = [flight for flight in run.failures if deadly and near(flight, kills)]
    captured = set(captured_numbers(run.captured["AllTraffic"]))
    missing = [f for f in run.answered if f.number not in captured and kind == ROUTER]
    record(
        FAULTS[kind],
        Measured(
            [kill.whole_s for kill in kills],
            len(run.flights),
            failures(failed),
            {"captured records": (len(missing), len(run.answered))},
        ),
    )


def test_the_machine_kept_up(run):
    # Or "constant traffic" would not be said truthfully.
    assert run.late < len(run.flights) / 2
    assert {kind: len(run.chaos.of(kind)) for kind in (CONTROL, COLLECTOR)} == {
        CONTROL: KILLS,
        COLLECTOR: KILLS,
    }
