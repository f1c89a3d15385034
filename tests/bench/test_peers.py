"""The pure parts of `scripts/bench router --peers`."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.kit.load import Payload
from bench.kit.payloads import LARGE, LIKE_AN_SDK, SMALL
from bench.kit.report import CannotMeasure, Listing, Report
from bench.kit.rounds import ratio_interval
from bench.kit.way import Way, is_mirrored_right
from bench.peers import envoy, nginx
from bench.peers.document import END, begin, replaced, section
from bench.peers.figures import LATENCIES, MAXIMA, RATES_PER_S, UNSAMPLED, figures_of
from bench.peers.goals import GOALS, goal_rows, goals_of, of_allowed
from bench.peers.memory import memory_figures
from bench.peers.run import forget_round, may_stall
from bench.profile import parts_of

ROOT = Path(__file__).parents[2]
PAYLOAD = Payload("{}", "application/json")


def way(name: str, *, is_mirrored: bool = True) -> Way:
    return Way(name, name, "http://127.0.0.1:1/", PAYLOAD, lambda: 0.0, is_mirrored)


def measured() -> dict[str, Way]:
    """Two rounds; in the second everything took twice as long."""
    ways = {name: way(name) for name in (*MAXIMA, *UNSAMPLED, *LATENCIES)}
    for name, found in ways.items():
        speed = 4.0 if name.startswith("gnomon") else 8.0 if name.startswith("direct") else 1.0
        found.maximum_per_s = [1000 * speed, 500 * speed]
        found.cpu_us = [100 / speed, 200 / speed]
        for rate_per_s in RATES_PER_S:
            found.p50_us[rate_per_s] = [800 / speed, 1600 / speed]
            found.p99_us[rate_per_s] = [8000 / speed, 16000 / speed]
    return ways


def test_ratios_are_of_the_same_round():
    figures = figures_of(measured())
    assert figures["gnomon_to_envoy_ratio"] == 4
    assert figures["gnomon_cpu_to_nginx_ratio"] == 0.25
    # 200 less the direct 100, by 800 less 100.
    assert figures["p50_added_to_envoy_ratio"] == pytest.approx(1 / 7)
    assert figures["unsampled_cpu_ratio_low"] == figures["unsampled_cpu_ratio_high"] == 1


def test_every_goal_but_that_of_memory_has_its_figure_from_the_rounds():
    missing = {goal.figure for goal in GOALS} - figures_of(measured()).keys()
    assert missing == memory_figures([1]).keys()


def test_the_goal_table_says_met_missed_and_not_measured():
    rows = goal_rows({"gnomon_to_envoy_ratio": 2.0, "gnomon_to_nginx_ratio": 1.69})
    assert [row[-1] for row in rows[:3]] == ["met", "missed", "not measured"]
    assert rows[1][1:3] == ("1.69", "≥ 1.7")


def test_goals_are_those_about_which_there_are_figures():
    assert goals_of({"gnomon_to_envoy_ratio": 1.0, "else": 2.0}) == {
        "gnomon_to_envoy_ratio": (">=", 2.0)
    }


@pytest.mark.parametrize(
    ("healthy_us", "failing_us", "is_allowed"),
    [(100, 600, True), (100, 601, False), (10_000, 13_000, True), (10_000, 13_001, False)],
)
def test_a_failing_shadow_may_cost_a_third_more_or_half_a_millisecond(
    healthy_us, failing_us, is_allowed
):
    assert (of_allowed(healthy_us, failing_us) <= 1) == is_allowed


@pytest.mark.parametrize(
    ("is_mirrored", "copies_share", "is_right"),
    [(True, 1.0, True), (True, 0.98, False), (False, 0.0, True), (False, 0.5, False)],
)
def test_a_run_counts_only_if_all_copies_came_or_none_where_none_is_sent(
    is_mirrored, copies_share, is_right
):
    assert is_mirrored_right(way("nginx", is_mirrored=is_mirrored), copies_share) == is_right


@pytest.mark.parametrize(
    ("name", "may"),
    [("nginx_hung", True), ("envoy_dead", True), ("nginx", False), ("gnomon_hung", False)],
)
def test_only_a_peer_with_a_failing_shadow_may_have_no_figure(name, may):
    assert may_stall(name) == may


def test_a_void_round_is_taken_from_all_ways_that_were_measured_in_it():
    found = measured()["gnomon"]
    forget_round(found, RATES_PER_S[0])
    assert len(found.p50_us[RATES_PER_S[0]]) == len(found.p99_us[RATES_PER_S[0]]) == 1
    assert len(found.p50_us[RATES_PER_S[1]]) == 2


def test_memory_is_flat_when_its_end_is_as_its_second_quarter():
    flat = memory_figures([10_000_000, *[50_000_000] * 7])
    assert flat == {"hung_memory_mb": 50, "hung_memory_growth_ratio": 1}
    assert memory_figures([x * 1_000_000 for x in range(1, 9)])["hung_memory_growth_ratio"] > 2


def test_an_interval_holds_the_median_of_the_ratios():
    low, high = ratio_interval([10.0, 11, 12, 13, 14], [10.0] * 5)
    assert 1.0 <= low <= 1.2 <= high <= 1.4
    assert low < high


def test_nginx_mirrors_to_the_other_upstream_and_keeps_its_connections(tmp_path):
    written = nginx.configuration(tmp_path, 1001, 1002, 1003)
    for words in ("listen 127.0.0.1:1003 ", "server 127.0.0.1:1001;", "server 127.0.0.1:1002;"):
        assert words in written
    assert "mirror /copy;" in written
    assert written.count("keepalive 512;") == 2


def test_envoy_mirrors_every_request_and_leaves_none_out_for_a_bound():
    written = json.loads(envoy.configuration(1001, 1002, 1003))["static_resources"]
    (listener,) = written["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 1003
    assert '"request_mirror_policies": [{"cluster": "shadow"}]' in json.dumps(listener)
    ports = {
        cluster["name"]: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"][
            "address"
        ]["socket_address"]["port_value"]
        for cluster in written["clusters"]
    }
    assert ports == {"production": 1001, "shadow": 1002}
    for cluster in written["clusters"]:
        (bounds,) = cluster["circuit_breakers"]["thresholds"]
        assert min(bounds.values()) >= 100_000


def test_bodies_have_their_lengths_and_an_sdk_sends_14_headers():
    assert (len(SMALL.body), len(LARGE.body)) == (200, 65_536)
    # Host and Content-Length are the load generator's.
    assert len(LIKE_AN_SDK.all_headers()) == 12


def test_the_page_holds_the_tables_of_a_run_between_its_marks():
    report = Report(
        figures={},
        versions={"nginx": "1.31.3"},
        header=("goal", "measured"),
        rows=[("requests/s", "2.5")],
        notes=["One worker each."],
        further=[Listing("Most", ("way", "req/s"), [("direct", "9")])],
    )
    now = datetime(2026, 1, 2, tzinfo=UTC)
    mark = begin("router")
    written = section(report, {"cores": 2}, now)
    page = replaced(f"before\n{mark}\nold\n{END}\nafter", mark, written)
    assert page.startswith(f"before\n{mark}\nMeasured on 02 January 2026: cores 2\n(nginx 1.31.3).")
    assert page.endswith(f"- One worker each.\n{END}\nafter")
    assert "| requests/s | 2.5 |" in page
    assert "Most:\n\n| way | req/s |\n|---|---|\n| direct | 9 |" in page
    assert "old" not in page


def test_a_page_without_marks_is_left_alone():
    with pytest.raises(CannotMeasure, match="lacks the marks"):
        replaced("nothing here", begin("router"), "figures")


@pytest.mark.parametrize("name", ["router", "profile", "telemetry"])
def test_the_documentation_has_the_marks(name):
    page = (ROOT / "docs" / "performance.md").read_text()
    assert replaced(page, begin(name), "figures")


def test_a_look_counts_for_the_innermost_module_of_the_router():
    parts = parts_of(
        [
            "main (gnomon/app/router.py:1);feed (gnomon/router/client.py:5) 70",
            "main (gnomon/app/router.py:1);feed (gnomon/router/client.py:9);x (lib/y.py:2) 10",
            "main (gnomon/app/router.py:1);poll (uvloop/loop.pyx:3) 782",
            "main (gnomon/app/router.py:1) 1",
            "take (gnomon/router/pool.py:1) 3",
            "write (gnomon/spool/writer.py:1) 134",
        ]
    )
    assert list(parts)[1:] == ["spool/writer.py", "router/client.py", "the rest"]
    assert parts["router/client.py"] == 0.08
    assert parts["the rest"] == pytest.approx(0.003)
    assert sum(parts.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "arguments",
    [("api", "--peers"), ("router", "--docs"), ("router", "--peers", "--quick", "--docs")],
)
def test_flags_that_do_not_go_together_are_refused(arguments):
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "goes with" in done.stderr
