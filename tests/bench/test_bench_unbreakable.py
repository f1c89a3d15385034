"""`scripts/bench unbreakable`, as it is run by hand.

Only that it measures, and that no shadow is waited for: ratios of percentiles, on a machine that
others use too, are for people to judge.
"""

import json

import pytest

# A router that waits for a shadow waits for its time limit, a minute; for a connection, 250 ms.
LOOSE_BOUND_US = 5_000_000


@pytest.mark.slow
@pytest.mark.usefixtures("tools")
def test_a_quick_run_measures_every_fault(bench, tmp_path):
    file = tmp_path / "figures.json"
    done = bench("unbreakable", "--quick", "--json", file)
    assert done.returncode == 0, done.stdout
    document = json.loads(file.read_text())
    faults = [name.removesuffix("_to_bound_ratio") for name in document["goals"]]
    assert len(faults) == 7
    for name in ("healthy", *faults):
        assert 0 < document["figures"][f"{name}_p99_us"] < LOOSE_BOUND_US
    assert "refuses" in done.stdout
