"""`scripts/bench compare`, as it is run by hand."""

import json

import pytest


@pytest.mark.slow
def test_a_quick_run_measures_every_kind_of_answer_and_the_report(bench, tmp_path):
    file = tmp_path / "figures.json"
    done = bench("compare", "--quick", "--json", file)
    assert done.returncode == 0, done.stdout
    document = json.loads(file.read_text())
    assert document["figures"].keys() == {
        "json_300_same_pairs_per_s",
        "json_300_pairs_per_s",
        "csv_pairs_per_s",
        "json_64k_same_pairs_per_s",
        "json_64k_pairs_per_s",
        "report_ms",
        "month_sum_ms",
        "month_average_ms",
        "month_p99_ms",
        "month_p99_from_35_ms",
    }
    assert all(figure > 0 for figure in document["figures"].values())
    assert document["goals"]["csv_pairs_per_s"] == [">=", 15_000]
