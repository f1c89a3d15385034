"""`scripts/bench soak`, as it is run by hand, for a few seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "scripts" / "bench"
PATIENCE_S = 120

can_have_tools = pytest.mark.skipif(
    os.geteuid() != 0
    and not all(shutil.which(tool) for tool in ("nginx", "wrk", "h2load", "taskset", "setpriv")),
    reason="nginx, wrk and nghttp2-client are not here, and only root can install them",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BENCH), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.e2e
@can_have_tools
def test_a_short_soak_adds_up_and_stays_flat(tmp_path):
    file = tmp_path / "figures.json"
    done = run("soak", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout
    figures = json.loads(file.read_text())["figures"]
    assert figures["requests"] == figures["pairs"] + figures["drops"]
    assert figures["captures"] == figures["requests"] + figures["pairs"]
    assert figures["drops"] > 0
    assert 0 < figures["hung_memory_most_mib"] <= 150
    # The hung shadow held as many connections as it may.
    assert figures["hung_descriptors_most"] > 500


def test_minutes_are_for_the_soak_alone():
    done = run("compare", "--minutes", "1")
    assert done.returncode == 2
    assert "--minutes goes with soak" in done.stdout
