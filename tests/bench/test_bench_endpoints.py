"""`scripts/bench endpoints`, as it is run by hand, for a few seconds."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.usefixtures("tools")
def test_ten_thousand_endpoints_that_change_cost_a_request_little(bench, tmp_path):
    file = tmp_path / "figures.json"
    done = bench("endpoints", "--quick", "--json", file)
    assert done.returncode == 0, done.stdout
    figures = json.loads(file.read_text())["figures"]
    assert figures["changes"] > 10
    # Measured over more rounds: 1.04; where each is looked at and each change is saved, 10.
    assert figures["many_to_one_cpu_ratio"] < 2
