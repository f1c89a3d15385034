"""`gnomon analysis set` has an option for all that an analysis has; settings have the defaults."""

import json
import subprocess
import sys

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEFAULTS = """
[analysis]
rules_left_out = ["p99"]
ignored_paths = ["/at"]
list_order = "any"
task = "regression"
dependence = "blocks"
promote_when_ready = true
"""
OPTIONS = {
    "slow-down": "none",
    "error-rate": "none",
    "disagreement": "0",
    "p99": "1.5",
    "least-pairs": "7",
    "most-dropped": "0.5",
    "alpha": "0.01",
    "dependence": "pairs",
    "block-s": "2.5",
    "list-order": "kept",
    "text": "exact",
    "task": "detect",
}


def test_an_option_changes_what_the_settings_have(tmp_path):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "gnomon.toml").write_text(DEFAULTS)
    with running_gnomon(data_dir) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "judged")
        echo.endpoint()
        echo.model(f"{echo.name}-shad", MODEL_SAYS="YES")
        echo.experiment(100)
        before = json.loads(analysis(gnomon, "show", echo.name).stdout)
        given = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
        after = json.loads(analysis(gnomon, "set", echo.name, *given).stdout)
        refused = {
            option: analysis(gnomon, "set", echo.name, *option).stderr
            for option in [("--block-s", "1e-7"), ("--alpha", "nan"), ("--p99", "much")]
        }
    assert before["guardrails"] == {"stop_when_broken": False, "promote_when_ready": True}
    settings = before["settings"]
    assert settings["rules"]["p99"] is None
    assert (settings["task"], settings["dependence"]) == ("regression", "blocks")
    assert settings["comparison"]["ignored_paths"] == ["/at"]
    assert settings["comparison"]["list_order"] == "any"
    assert after["guardrails"] == before["guardrails"]
    assert after["settings"] == {
        "comparison": {
            "absolute_tolerance": 0.0,
            "relative_tolerance": 0.0,
            "list_order": "kept",
            "ignored_paths": ["/at"],
            "text": "exact",
        },
        "rules": {
            "slow_down": None,
            "error_rate": None,
            "disagreement": 0.0,
            "p99": 1.5,
            "least_pairs": 7,
            "most_dropped": 0.5,
        },
        "task": None,
        "dependence": "pairs",
        "block_s": 2.5,
        "alpha": 0.01,
        "noise_share": 0.0,
        "comparator": "default",
    }
    said = list(refused.values())
    assert "0.001" in said[0]
    assert "finite" in said[1]
    assert said[2].startswith("gnomon: --p99 is a number, or none")


def analysis(gnomon, command, experiment, *options):
    return subprocess.run(
        [
            *(sys.executable, "-m", "gnomon.app.main", "analysis", command, experiment, *options),
            *("--data-dir", str(gnomon.data_dir)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
