"""`scripts/bench router`, as it is run by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "scripts" / "bench"
PATIENCE_S = 100


def of_session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.pid != leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BENCH), *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_the_list_names_each_bench_with_what_it_measures():
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "bench"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == [
        "api",
        "compare",
        "endpoints",
        "profile",
        "router",
        "soak",
        "telemetry",
        "unbreakable",
    ]
    assert "What the router costs" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("tools")
def test_a_quick_run_measures_all_three_ways_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "figures.json"
    with start(tmp_path, "router", "--quick", "--json", str(file)) as bench:
        said, _ = bench.communicate(timeout=PATIENCE_S)
    assert bench.returncode == 0, said
    assert of_session(bench.pid) == []
    document = json.loads(file.read_text())
    assert document["bench"] == "router"
    assert document["goals"] == {}
    figures = document["figures"]
    assert all(figure > 0 for figure in figures.values()), figures
    for way in ("direct", "router", "mirroring"):
        assert f"{way}_max_per_s" in figures
        assert figures[f"{way}_p50_at_1000_per_s_us"] <= figures[f"{way}_p99_at_1000_per_s_us"]
    assert figures["mirroring_copies_ratio"] >= 0.99
    assert figures["router_cpu_us"] < figures["mirroring_cpu_us"]
    assert "router, all mirrored" in said


@pytest.mark.slow
@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_bench_that_is_ended_takes_its_processes_with_it(number, tmp_path):
    with start(tmp_path, "router") as bench:
        until_s = time.monotonic() + PATIENCE_S
        while not any(process.name() == "wrk" for process in of_session(bench.pid)):
            assert bench.poll() is None, "the bench ended by itself"
            assert time.monotonic() < until_s
            time.sleep(0.05)
        started = of_session(bench.pid)
        bench.send_signal(number)
        _, alive = psutil.wait_procs(started, timeout=PATIENCE_S)
        assert len(started) >= 4
        assert alive == []
        assert bench.wait(PATIENCE_S) != 0
