"""The AWS SDK for JavaScript, where Node.js is there: the example on a real Gnomon, and a router's
streamed answers.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gnomon.model import metric
from gnomon.settings import RouterSettings
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Faucet
from gnomon.testing.kept import kept
from gnomon.testing.router_rig import endpoint, running_router, until, variant

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript" / "first_shadow_test.mjs"
PINNED = [EXAMPLE.with_name(name) for name in ("package.json", "package-lock.json")]
STREAM = Path(__file__).with_name("response_stream.mjs")
PATIENCE_S = 30.0
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
def packages(node, tmp_path):
    """A directory in which scripts find the SDK."""
    found = kept("javascript", b"".join(file.read_bytes() for file in PINNED), install)
    (tmp_path / "node_modules").symlink_to(found / "node_modules")
    return tmp_path


@pytest.fixture
def example(node, packages):
    return [node, shutil.copy(EXAMPLE, packages)]


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def rig(tmp_path, model):
    settings = RouterSettings(stream_time_limit_s=PATIENCE_S, drain_idle_s=0.0)
    async with running_router(tmp_path, settings=settings) as running:
        await running.apply(endpoint("demo", variant("AllTraffic", model.port)))
        yield running


class Listener:
    """The script that reads a stream; `line` is the next thing that it said."""

    def __init__(self, process):
        self._process = process

    async def line(self):
        async with asyncio.timeout(PATIENCE_S):
            said = await self._process.stdout.readline()
            assert said, (await self._process.stderr.read()).decode()
            return json.loads(said)


@contextlib.asynccontextmanager
async def listening(node, packages, rig, *arguments):
    process = await asyncio.create_subprocess_exec(
        node,
        shutil.copy(STREAM, packages),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "HOME": str(packages),
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{rig.port}",
            "AWS_ACCESS_KEY_ID": "gnomon",
            "AWS_SECRET_ACCESS_KEY": "gnomon",
            "AWS_REGION": "us-east-1",
        },
    )
    try:
        yield Listener(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_a_part_of_a_stream_comes_before_the_next_is_there(node, packages, rig, model):
    faucet = model.behaviour = Faucet(content_type="text/plain")
    async with listening(node, packages, rig, "demo") as listener:
        # The SDK hands an answer out with its first event.
        await faucet.drip(b"zero")
        assert await listener.line() == {"variant": "AllTraffic", "type": "text/plain"}
        assert await listener.line() == {"part": "zero"}
        for part in ("one", "two", "three"):
            await faucet.drip(part.encode())
            assert await listener.line() == {"part": part}
        await faucet.close()
        assert await listener.line() == {"end": "whole"}
    (request,) = model.requests
    assert (request.path, request.body) == ("/invocations", b"1,2")
    assert (request.headers["content-type"], request.headers["accept"]) == (
        "text/csv",
        "text/plain",
    )


async def test_a_stream_that_breaks_is_a_model_stream_error(node, packages, rig, model):
    faucet = model.behaviour = Faucet()
    async with listening(node, packages, rig, "demo") as listener:
        await faucet.drip(b"one")
        await listener.line()
        assert await listener.line() == {"part": "one"}
        await faucet.burst()
        end = await listener.line()
    assert (end["end"], end["code"]) == ("ModelStreamError", "StreamBroken")


async def test_an_error_before_the_stream_is_the_sdk_s_exception(node, packages, rig, model):
    model.behaviour = fake_upstream.answer(503, b"busy")
    async with listening(node, packages, rig, "demo") as listener:
        end = await listener.line()
    assert (end["end"], end["status"]) == ("ModelError", 424)
    async with listening(node, packages, rig, "other") as listener:
        end = await listener.line()
    assert (end["end"], end["status"]) == ("ValidationError", 400)


async def test_a_stream_that_the_sdk_leaves_is_counted(node, packages, rig, model):
    faucet = model.behaviour = Faucet()
    async with listening(node, packages, rig, "demo", "1") as listener:
        await faucet.drip(b"one")
        await listener.line()
        assert await listener.line() == {"part": "one"}
        # Until something is sent to it, one that is gone looks like one that has only said all.
        await faucet.drip(b"two")
        await until(lambda: not rig.router._clients.open)
        await faucet.drip(b"three")
        await faucet.close()
        await until(lambda: not rig.router._routes.by_id["e-demo"].entry.open)
    rig.flush()
    counts = rig.spool.counts("v-AllTraffic")
    assert counts[metric.INVOCATIONS] == 1
    assert metric.MODEL_ERRORS not in counts


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
