"""`scripts/bench unbreakable`, as it is run by hand.

Only that it measures, and that no shadow is waited for: ratios of percentiles, on a machine that
others use too, are for people to judge.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
PATIENCE_S = 150
# A router that waits for a shadow waits for its time limit, a minute; for a connection, 250 ms.
LOOSE_BOUND_US = 5_000_000


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0
    and not all(shutil.which(tool) for tool in ("nginx", "wrk", "h2load", "taskset", "setpriv")),
    reason="nginx, wrk and nghttp2-client are not here, and only root can install them",
)
def test_a_quick_run_measures_every_fault(tmp_path):
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [BENCH, "unbreakable", "--quick", "--json", file],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(file.read_text())
    faults = [name.removesuffix("_to_bound_ratio") for name in document["goals"]]
    assert len(faults) == 7
    for name in ("healthy", *faults):
        assert 0 < document["figures"][f"{name}_p99_us"] < LOOSE_BOUND_US
    assert "refuses" in done.stdout
