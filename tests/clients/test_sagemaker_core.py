"""sagemaker-core's resources on a real Gnomon: it checks every answer against shapes of its own."""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = Path(__file__).parent / "sagemaker_core" / "shadow_test.py"
REQUIREMENTS = PROGRAM.with_name("requirements.txt")


@pytest.fixture(scope="module")
def python():
    """The interpreter of an environment with what is required, made once and kept: it is 300 MB."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "gnomon-tests" / f"sagemaker-core-{wanted}"
    environment.parent.mkdir(parents=True, exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = environment / "done"
        python = environment / "bin" / "python"
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--no-compile", "--no-deps", "-r", REQUIREMENTS], check=True)
            done.touch()
    return python


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
