"""`scripts/bench soak`, as it is run by hand, for a few seconds."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.usefixtures("tools")
def test_a_short_soak_adds_up_and_stays_flat(bench, tmp_path):
    file = tmp_path / "figures.json"
    done = bench("soak", "--quick", "--json", file)
    assert done.returncode == 0, done.stdout
    figures = json.loads(file.read_text())["figures"]
    assert figures["requests"] == figures["pairs"] + figures["drops"]
    assert figures["captures"] == figures["requests"] + figures["pairs"]
    assert figures["drops"] > 0
    assert 0 < figures["hung_memory_most_mib"] <= 150
    # The hung shadow held as many connections as it may.
    assert figures["hung_descriptors_most"] > 500


def test_minutes_are_for_the_soak_alone(bench):
    done = bench("compare", "--minutes", "1")
    assert done.returncode == 2
    assert "--minutes goes with soak" in done.stdout
