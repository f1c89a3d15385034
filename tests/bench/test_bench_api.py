"""`scripts/bench api`, as it is run by hand but for the tools that it does without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from bench.kit import control

from bench import api

ROOT = Path(__file__).parents[2]
PATIENCE_S = 100
GOALS = {"describe_p50_ms", "list_worst_p50_ms", "create_p50_ms", "pass_p50_ms", "sweep_p50_ms"}


@pytest.mark.slow
def test_a_quick_run_measures_every_goal_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "figures.json"
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "api", "--quick", "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as bench:
        said, _ = bench.communicate(timeout=PATIENCE_S)
    assert bench.returncode == 0, said
    assert [p for p in psutil.pids() if p != bench.pid and session_of(p) == bench.pid] == []
    document = json.loads(file.read_text())
    assert document["bench"] == "api"
    assert set(document["goals"]) == GOALS
    assert all(document["figures"][name] > 0 for name in GOALS)
    assert "List, the worst: List" in said
    assert list(tmp_path.iterdir()) == [file]


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def test_a_control_that_stays_busy_is_reported_and_does_not_end_the_bench(monkeypatch):
    monkeypatch.setattr(control, "_QUIET_S", 0.01)
    monkeypatch.setattr(control, "_QUIET_TIME_LIMIT_S", 0.0)
    monkeypatch.setattr(control, "_QUIET_SHARE", 0.0)
    assert not control._until_quiet(os.getpid())
    assert "still busy" in api._started(None)
    monkeypatch.setattr(control, "_QUIET_SHARE", 1000.0)
    assert control._until_quiet(os.getpid())
    assert "2.0 s" in api._started(2.0)
