"""`scripts/bench telemetry`, as it is run by hand, and what its figures are made of."""

from __future__ import annotations

import json

import pytest
from bench.captured.collecting import Case
from bench.captured.filling import filled
from bench.captured.frame import frame_cpu_us
from bench.captured.outage import RATE_PER_S, CaughtUp, Memory
from bench.captured.report import GOALS, Measured, figures_of, report_of
from bench.kit.payloads import LARGE, SMALL
from bench.kit.report import missed_goals
from bench.kit.watch import Watch
from bench.kit.way import Way

from gnomon.spool.frames import Exchange
from gnomon.spool.incarnation import is_alive, segments
from gnomon.spool.segment import SegmentReader


def exchanges_in(directory):
    found = [frame for segment in segments(directory) for _, frame in SegmentReader(segment.path)]
    assert all(isinstance(frame, Exchange) for frame in found)
    return found


def case(name, payload, *, server=False):
    measured = Case(name, name, "s3" if server else "directory", payload, 100)
    measured.per_s += [1_000, 2_000, 9_000]
    measured.per_cpu_s += [20_000, 10_000, 30_000]
    if server:
        measured.per_server_cpu_s += [700, 800, 900]
    return measured


def way(name, p99_us, cpu_us):
    found = Way(name, name, "", SMALL)
    found.p50_us[RATE_PER_S] += [100.0] * len(p99_us)
    found.p99_us[RATE_PER_S] += p99_us
    found.cpu_us += cpu_us
    found.ran_share += [0.3, 0.9, 0.4]
    return found


def measured(**changes):
    parts = {
        "cases": [
            case("directory_300", SMALL),
            case("s3_300", SMALL, server=True),
            case("directory_64k", LARGE),
            case("s3_64k", LARGE, server=True),
        ],
        "frame_us": {"frame": [3.0, 2.0, 9.0], "frame_64k": [80.0]},
        "off": way("off", [1_000.0, 4_000.0, 9_000.0], [40.0, 30.0, 50.0]),
        "on": way("on", [1_200.0, 5_000.0, 9_100.0], [44.0, 38.0, 56.0]),
        "caught_up": CaughtUp(20.0, 2.0, 4.0, 10_000_000, 1_000.0),
        "memory": Memory(
            Watch(1, [1.0, 1.0, 1.0, 50.0, 50.0, 50.0, 50.0, 51.0, 51.0]),
            Watch(2, [80.0] * 6 + [100.0] * 3),
            dropped=7.0,
        ),
    }
    return Measured(**{**parts, **changes})


def test_figures_are_medians_of_rounds_and_ratios_within_one():
    figures = figures_of(measured())
    assert figures["directory_300_exchanges_per_cpu_s"] == 20_000
    assert figures["directory_300_exchanges_per_s"] == 2_000
    # Both bodies of an exchange: 299 bytes, and 64 KiB and 99 bytes.
    assert figures["directory_300_mb_per_cpu_s"] == pytest.approx(5.98)
    assert figures["directory_64k_mb_per_s"] == pytest.approx(131.27)
    assert figures["s3_64k_server_mb_per_cpu_s"] == pytest.approx(52.508)
    assert "directory_64k_server_mb_per_cpu_s" not in figures
    assert (figures["frame_cpu_us"], figures["frame_64k_cpu_us"]) == (3, 80)
    assert figures["capture_adds_cpu_us"] == 6
    assert figures["capture_p99_ratio"] == pytest.approx(1.2)
    # 1,200 of 1,500, 5,000 of 5,200 and 9,100 of 11,700 microseconds.
    assert figures["capture_p99_of_allowed_ratio"] == pytest.approx(0.8)
    assert figures["catch_up_ratio"] == 5
    assert figures["outage_router_memory_growth_ratio"] == pytest.approx(1.02)
    assert figures["outage_collector_memory_growth_ratio"] == pytest.approx(1.25)


def test_each_goal_is_about_a_figure_and_a_missed_one_is_said():
    report = report_of(measured(), "")
    assert report.goals.keys() == {goal.figure for goal in GOALS}
    assert [row[-1] for row in report.rows] == ["met"] * 8 + ["missed"]
    assert missed_goals(report) == ["outage_collector_memory_growth_ratio is 1.25, to be <= 1.05"]
    slow = CaughtUp(10.0, 0.0, 8.0, 0, 1_000.0)
    worse = measured(caught_up=slow, frame_us={"frame": [4.5], "frame_64k": [80.0]})
    assert [line.split()[0] for line in missed_goals(report_of(worse, ""))] == [
        "frame_cpu_us",
        "catch_up_ratio",
        "outage_collector_memory_growth_ratio",
    ]


def test_the_report_says_by_whose_time_it_is_judged_and_what_was_dropped():
    report = report_of(measured(), "Two cores.")
    said = " ".join(report.notes)
    assert "judged on its CPU time" in said
    assert "the router had 40% of its core" in said
    assert "20.0 s of them (10 MiB) were written in 4.0 s" in said
    assert "7 captures were dropped and counted" in said
    assert report.further[0].rows[0][-1] == ""
    assert report.further[0].rows[1][-1] == "0 (0–0)"


def test_what_is_to_be_collected_is_as_many_exchanges_as_a_dead_router_left(tmp_path):
    left = filled(tmp_path, LARGE, 30)
    assert not is_alive(left)
    found = exchanges_in(left)
    assert len({exchange.event_id for exchange in found}) == 30
    assert {len(exchange.request_body) for exchange in found} == {64 * 1024}


def test_a_frame_is_measured_to_its_place_in_the_file(tmp_path):
    cost_us = frame_cpu_us(tmp_path, SMALL, 50)
    (directory,) = tmp_path.iterdir()
    found = exchanges_in(directory)
    assert len(found) == 50
    assert found[0].request_body == SMALL.body.encode()
    assert 0 < cost_us < 10_000


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.usefixtures("tools")
def test_a_quick_run_measures_every_figure(bench, tmp_path):
    file = tmp_path / "figures.json"
    done = bench("telemetry", "--quick", "--json", file)
    assert done.returncode == 0, done.stdout
    document = json.loads(file.read_text())
    figures = document["figures"]
    # What a whole and a quick run say are the same figures; how capture compares, chance may turn.
    assert figures.keys() == figures_of(measured()).keys()
    assert document["goals"].keys() == {goal.figure for goal in GOALS}
    free = {"capture_adds_cpu_us", "catch_up_noticed_s"}
    assert all(figures[name] > 0 for name in figures.keys() - free), figures
    # It fills for the outage, and is full in the long one.
    assert figures["catch_up_filled_s"] > 2
    assert figures["outage_dropped_captures"] > 0
    assert "captured requests a second" in done.stdout
