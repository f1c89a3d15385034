"""sagemaker-core's resources on a real Gnomon: it checks every answer against shapes of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.testing.kept import kept

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = Path(__file__).parent / "sagemaker_core" / "resources.py"
REQUIREMENTS = PROGRAM.with_name("requirements.txt")


def install(environment):
    subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*pip, "--quiet", "--no-compile", "--no-deps", "-r", REQUIREMENTS], check=True)


@pytest.fixture(scope="module")
def python():
    """The interpreter of an environment that has what is required: it is 300 MB."""
    wanted = REQUIREMENTS.read_bytes() + sys.version.encode()
    return kept("sagemaker-core", wanted, install) / "bin" / "python"


# The environment's first making takes half a minute where the network is good.
@pytest.mark.timeout(400)
def test_endpoints_and_experiments_are_resources_that_live_and_go(python, echo, environ):
    echo.model(f"{echo.name}-prod")
    echo.model(f"{echo.name}-shad")
    done = subprocess.run(
        [python, PROGRAM, echo.name],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
