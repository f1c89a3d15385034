"""What a model's code/requirements.txt means for its endpoint. The model directory is tmp_path."""

import sys

import pytest

from gnomon.hosting.session import stat
from gnomon.store.state.instances import instances_of
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.requests import make_config, make_endpoint, make_model
from gnomon.testing.wheels import make_wheel


class LaterClock(FakeClock):
    """One by which a test can let time pass."""

    later_s = 0.0

    def monotonic_s(self):
        return super().monotonic_s() + self.later_s


async def begin_endpoint(control):
    await make_model(control, "prod")
    await make_config(control, "config", "prod")
    await control.call("CreateEndpoint", EndpointName="ep", EndpointConfigName="config")


def require(directory, requirements):
    (directory / "wheels").mkdir()
    (directory / "code").mkdir()
    (directory / "code" / "requirements.txt").write_text(requirements)


async def test_without_requirements_the_images_interpreter_runs_the_model(tmp_path, machine):
    table = {"*scikit-learn*": "/bin/true"}
    async with running_control(tmp_path, machine, FakeClock(), interpreters=table) as control:
        await make_endpoint(control)

    assert [start.runtime.interpreter for start in machine.starts] == ["/bin/true"]


async def test_an_interpreter_that_is_not_there_is_the_endpoints_failure(tmp_path, machine):
    table = {"*": "/no/python"}
    async with running_control(tmp_path, machine, FakeClock(), interpreters=table) as control:
        await begin_endpoint(control)
        failed = await control.until_endpoint("ep", "Failed")

    assert failed["FailureReason"].startswith('The interpreter "/no/python" cannot run models')


@pytest.mark.slow
async def test_an_endpoint_gets_the_environment_that_its_model_requires(tmp_path, machine):
    require(tmp_path, "tide\n")
    make_wheel(tmp_path / "wheels", "tide", "1")
    wheels = str(tmp_path / "wheels")
    async with running_control(tmp_path, machine, FakeClock(), wheels=wheels) as control:
        await make_endpoint(control)

    (start,) = machine.starts
    assert start.runtime.interpreter.startswith(str(tmp_path / "environments"))


@pytest.mark.slow
async def test_requirements_that_cannot_be_had_are_the_endpoints_failure(tmp_path, machine):
    require(tmp_path, "tide==7\n")
    wheels = str(tmp_path / "wheels")
    async with running_control(tmp_path, machine, FakeClock(), wheels=wheels) as control:
        await begin_endpoint(control)
        failed = await control.until_endpoint("ep", "Failed")

    assert "No matching distribution found for tide==7" in failed["FailureReason"]
    assert str(tmp_path / "logs" / "environments") in failed["FailureReason"]
    assert machine.starts == []


# Stands in for an interpreter: a Python whose venv waits until it may go on.
HELD = """#!/bin/sh
case "$*" in
*venv*)
    echo $$ >{directory}/pid.new; mv {directory}/pid.new {directory}/pid
    until [ -e {directory}/go ]; do sleep 0.01; done;;
esac
exec {python} "$@"
"""


@pytest.fixture
def held(tmp_path):
    program = tmp_path / "held"
    program.write_text(HELD.format(directory=tmp_path, python=sys.executable))
    program.chmod(0o755)
    return str(program)


async def building(control, directory):
    """Waits until an instance's environment is being built, and returns what its row says."""

    async def began():
        async with control.transactions.database.reading() as connection:
            found = await instances_of(connection, statuses=("Pending",))
        return found[0].reason if found and (directory / "pid").exists() else None

    return await control.until(began, "a build that is shown")


@pytest.mark.slow
async def test_a_build_is_shown_and_not_counted_as_a_start(tmp_path, machine, held):
    require(tmp_path, "")
    clock = LaterClock()
    async with running_control(tmp_path, machine, clock, interpreter=held) as control:
        await begin_endpoint(control)
        assert "building its environment" in await building(control, tmp_path)
        clock.later_s = 10_000.0
        (tmp_path / "go").touch()
        await control.until_endpoint("ep", "InService")


async def test_a_build_ends_with_control(tmp_path, machine, held):
    require(tmp_path, "")
    async with running_control(tmp_path, machine, FakeClock(), interpreter=held) as control:
        await begin_endpoint(control)
        await building(control, tmp_path)

    venv = stat(int((tmp_path / "pid").read_text()))
    assert venv is None or venv.is_zombie
