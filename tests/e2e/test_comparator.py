"""A user's comparator in a real collector."""

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FUNCTION = """
def compare(production, shadow):
    if production.body == b"odd":
        raise ValueError("odd")
    return production.body.lower() == shadow.body.lower()
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
        report = gnomon.wait(
            lambda: (found := echo.report())["pairs"]["pairs"] == 4 and found, "four pairs"
        )
    assert (report["pairs"]["same"], report["pairs"]["different"]) == (2, 1)
    assert report["analysis"]["unknown"] == {"comparator_failed": 1}
