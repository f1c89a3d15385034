from __future__ import annotations

import json

from bench.kit.machine import share_out
from bench.kit.report import Report, missed_goals, print_report, write_json

REPORT = Report(
    figures={"router_max_per_s": 900.0, "router_cpu_us": 39.5},
    versions={"nginx": "1.22.1"},
    header=("way", "max req/s"),
    rows=[("router", "900")],
    notes=["On two cores."],
    goals={"router_max_per_s": (">=", 1000), "router_cpu_us": ("<=", 40)},
)
MACHINE = {"cores": 2}


def test_only_goals_that_are_not_reached_are_missed():
    assert missed_goals(REPORT) == ["router_max_per_s is 900, to be >= 1000"]


def test_what_is_printed_names_figures_machine_notes_and_missed_goals(capsys):
    print_report("router", REPORT, MACHINE)
    said = capsys.readouterr().out
    for words in ("900", "cores 2", "nginx 1.22.1", "On two cores.", "Goal missed: router_max"):
        assert words in said


def test_the_json_holds_figures_and_goals_by_name(tmp_path):
    write_json(tmp_path / "out.json", "router", REPORT, MACHINE)
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "bench": "router",
        "machine": {"cores": 2},
        "versions": {"nginx": "1.22.1"},
        "figures": {"router_max_per_s": 900.0, "router_cpu_us": 39.5},
        "goals": {"router_max_per_s": [">=", 1000], "router_cpu_us": ["<=", 40]},
    }


def test_what_is_measured_has_a_core_of_its_own_where_there_are_two():
    cores = share_out(frozenset({4, 2, 7}))
    assert (cores.measured, cores.rest) == ({2}, {4, 7})
    assert "core 2" in cores.said()


def test_on_one_core_everything_shares_it_and_that_is_said():
    cores = share_out(frozenset({3}))
    assert cores.measured == cores.rest == {3}
    assert "One core for everything" in cores.said()
