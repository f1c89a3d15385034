"""The AWS SDK for JavaScript on a real Gnomon: the example, where Node.js is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gnomon.testing.kept import kept

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript" / "first_shadow_test.mjs"
PINNED = [EXAMPLE.with_name(name) for name in ("package.json", "package-lock.json")]
# The SDK wants it.
NODE = 20


@pytest.fixture(scope="module")
def node():
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("there is no Node.js with npm on this machine")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", said)[1]) < NODE:
        pytest.skip(f"the SDK needs Node.js {NODE}, and here is {said.strip()}")
    return node


def install(directory):
    directory.mkdir(exist_ok=True)
    for file in PINNED:
        shutil.copy(file, directory)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=directory,
        check=True,
    )


@pytest.fixture
def example(node, tmp_path):
    """The example where it finds its packages."""
    packages = kept("javascript", b"".join(file.read_bytes() for file in PINNED), install)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    return [node, shutil.copy(EXAMPLE, tmp_path)]


def test_the_sdk_does_a_whole_shadow_test(example, environ):
    done = subprocess.run(
        example, env=environ, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_environment_of_gnomon_env_nothing_is_called(example, environ):
    bare = {name: value for name, value in environ.items() if "URL" not in name}
    done = subprocess.run(
        example, env=bare, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    assert "gnomon env" in done.stderr
