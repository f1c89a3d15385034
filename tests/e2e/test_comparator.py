"""A user's comparator in a real collector."""

import subprocess
import sys

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FUNCTION = """
def compare(production, shadow):
    if production.body == b"odd":
        raise ValueError("odd")
    return production.body.lower() == shadow.body.lower()


def anything(production, shadow):
    return True
"""


def test_a_users_function_says_what_is_the_same_and_what_it_raises_is_counted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FUNCTION)
    setting = f"{file}:compare"
    with running_gnomon(tmp_path / "data", GNOMON_ANALYSIS_COMPARATOR=setting) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "compared")
        echo.endpoint()
        echo.model(f"{echo.name}-shad", MODEL_SAYS="YES")
        echo.experiment(100)
        for body in ("yes", "yes", "no", "odd"):
            echo.invoke(body)
        # The analysis is of what is complete, which the last pairs are a moment later.
        report = gnomon.wait(
            lambda: (found := echo.report())["analysis"]["unknown"] and found, "an unknown pair"
        )
    assert report["pairs"]["pairs"] == 4
    assert (report["pairs"]["same"], report["pairs"]["different"]) == (2, 1)
    assert report["analysis"]["unknown"] == {"comparator_failed": 1}


def test_an_experiment_chooses_a_function_by_its_name(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FUNCTION)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "gnomon.toml").write_text(
        f'[analysis.comparators]\nlenient = "{file}:anything"\nstrict = "{file}:compare"\n'
    )
    with running_gnomon(data_dir) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "chosen")
        echo.endpoint()
        echo.model(f"{echo.name}-shad", MODEL_SAYS="no")
        echo.experiment(100)
        assert "there is no comparator 'lax'" in choose(gnomon, echo.name, "lax")
        for name in ("lenient", "strict"):
            assert f'"comparator": "{name}"' in choose(gnomon, echo.name, name)
            echo.invoke("yes")
            report = gnomon.wait(
                lambda: (found := echo.report())["pairs"]["pairs"] == 1 and found, "a pair"
            )
            assert report["pairs"]["same"] == (name == "lenient")


def choose(gnomon, experiment, comparator):
    """What `gnomon analysis set` says to it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gnomon.app.main", "analysis", "set", experiment),
            *("--comparator", comparator, "--data-dir", str(gnomon.data_dir)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
