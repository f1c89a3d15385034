"""Environments are real ones here, of wheels that the test has made."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from gnomon.hosting import environment_builder
from gnomon.hosting.interpreters import (
    EnvironmentNotBuilt,
    Interpreters,
    InterpreterUnusable,
    complaint_of,
    key_of,
)
from gnomon.hosting.session import kill_session, stat
from gnomon.settings import HostingSettings
from gnomon.testing.wheels import make_wheel

VERSION_OF_TIDE = "import tide; print(tide.VERSION)"


def interpreters(tmp_path, **settings):
    """Those of one control, which gets packages from `<tmp_path>/wheels` alone.

    Its own environment names other places.
    """
    (tmp_path / "wheels").mkdir(exist_ok=True)
    settings = {"wheels": str(tmp_path / "wheels")} | settings
    environ = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "of-gnomon"),
        "PIP_FIND_LINKS": str(tmp_path / "elsewhere"),
    }
    return Interpreters(tmp_path / "data", HostingSettings(**settings), environ)


def model(tmp_path, requirements=None, name="a"):
    code = tmp_path / name / "model" / "code"
    code.mkdir(parents=True)
    if requirements is not None:
        (code / "requirements.txt").write_text(requirements)
    return code.parent


def said_by(python, program):
    return subprocess.run(
        (python, "-I", "-c", program), capture_output=True, text=True, check=True
    ).stdout.strip()


def log_of(tmp_path):
    (log,) = (tmp_path / "data" / "logs" / "environments").iterdir()
    return log


def environments(tmp_path):
    return [entry for entry in (tmp_path / "data" / "environments").iterdir() if entry.is_dir()]


def nothing(_):
    pass


# --- Without requirements ----------------------------------------------------------------------


async def test_a_model_without_requirements_runs_in_what_is_named(tmp_path):
    named = sys.executable

    assert await interpreters(tmp_path).interpreter_for(model(tmp_path), named, nothing) == named
    assert not (tmp_path / "data").exists()


async def test_what_is_named_for_the_image_wins_over_what_is_named_for_all(tmp_path):
    for_all = interpreters(tmp_path, interpreter="/bin/false")

    assert await for_all.interpreter_for(model(tmp_path), "/bin/true", nothing) == "/bin/true"
    assert await for_all.interpreter_for(model(tmp_path, name="b"), "", nothing) == "/bin/false"


async def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InterpreterUnusable, match=r'"/no/python" cannot .* no such program'):
        await interpreters(tmp_path).interpreter_for(model(tmp_path), "/no/python", nothing)


async def test_an_interpreter_that_is_no_python_is_named(tmp_path):
    with pytest.raises(InterpreterUnusable, match='"/bin/false" cannot run models'):
        await interpreters(tmp_path).interpreter_for(model(tmp_path, ""), "/bin/false", nothing)


# --- The key -----------------------------------------------------------------------------------

BASE = (b"tide==1\n", "3.11", "", "/models/a")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_file_the_interpreter_and_the_source_of_packages_make_the_key(position):
    other = [*BASE]
    other[position] += b"#" if position == 0 else "#"

    assert key_of(*other) != key_of(*BASE)


@pytest.mark.parametrize(
    "requirements",
    [
        b"tide==1\n",
        b"tide @ https://host/tide\n",
        b"# see docs/requirements\ntide[extra]>=1,<2 ; python_version > '3.8'\n",
        b"--no-binary tide\n",
    ],
)
def test_models_share_an_environment_of_packages(requirements):
    assert key_of(requirements, "3.11", "", "/models/a") == key_of(
        requirements, "3.11", "", "/models/b"
    )


@pytest.mark.parametrize(
    "requirements",
    [
        b"tide\n-r other.txt\n",
        b"-rother.txt\n",
        b"-c bounds.txt\n",
        b"--constraint=bounds.txt\n",
        b"-e .\n",
        b"./tide\n",
        b"wheels/tide\n",
        b"tide-1-py3-none-any.whl\n",
        b"tide @ file:tide\n",
        b"--find-links wheels\n",
    ],
)
def test_a_file_of_the_models_own_makes_the_environment_its_own(requirements):
    assert key_of(requirements, "3.11", "", "/models/a") != key_of(
        requirements, "3.11", "", "/models/b"
    )


# --- The complaint -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("Looking\nERROR: No tide\nhint: none\nERROR: No moon\n", "ERROR: No tide ERROR: No moon"),
        ("one\n\ntwo \nthree\nfour\n", "two three four"),
        ("", ""),
        ("ERROR: " + "x" * 5000, "x" * 600),
    ],
)
def test_the_complaint_is_what_pip_said_last(output, complaint):
    assert complaint_of(output) == complaint


# --- Building ----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_requirements_are_installed_once_and_shared(tmp_path):
    make_wheel(tmp_path / "wheels", "tide", "1.5", requires="moon")
    make_wheel(tmp_path / "wheels", "moon", "2")
    of = interpreters(tmp_path)
    notes = []

    python = await of.interpreter_for(model(tmp_path, "tide\n"), "", notes.append)

    assert said_by(python, VERSION_OF_TIDE) == "1.5"
    assert said_by(python, "import moon; print(moon.VERSION)") == "2"
    assert notes == [f"building its environment: {log_of(tmp_path)} shows the progress"]
    assert "Successfully installed" in log_of(tmp_path).read_text()
    # Nothing is left from which it could be built again.
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    again = model(tmp_path, "tide\n", name="b")
    assert await interpreters(tmp_path).interpreter_for(again, "", notes.append) == python
    assert len(notes) == 1


@pytest.mark.slow
async def test_nothing_of_gnomons_is_in_an_environment(tmp_path):
    python = await interpreters(tmp_path).interpreter_for(model(tmp_path, ""), "", nothing)

    find = "import importlib.util as u; print(u.find_spec('gnomon'), u.find_spec('msgspec'))"
    assert said_by(python, find) == "None None"


@pytest.mark.slow
async def test_pip_takes_gnomons_packages_for_nobodys(tmp_path):
    make_wheel(tmp_path / "wheels", "tide", "1")
    wheel = make_wheel(tmp_path / "made", "tide", "2")
    zipfile.ZipFile(wheel).extractall(tmp_path / "of-gnomon")

    python = await interpreters(tmp_path).interpreter_for(model(tmp_path, "tide\n"), "", nothing)

    assert said_by(python, VERSION_OF_TIDE) == "1"


@pytest.mark.slow
async def test_with_wheels_pip_looks_nowhere_else(tmp_path):
    make_wheel(tmp_path / "wheels", "tide", "1")
    make_wheel(tmp_path / "elsewhere", "tide", "2")

    python = await interpreters(tmp_path).interpreter_for(model(tmp_path, "tide\n"), "", nothing)

    assert said_by(python, VERSION_OF_TIDE) == "1"


@pytest.mark.slow
async def test_without_wheels_pip_is_the_users_own(tmp_path):
    make_wheel(tmp_path / "elsewhere", "tide", "2")
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "elsewhere")}
    of = Interpreters(tmp_path / "data", HostingSettings(), environ)

    python = await of.interpreter_for(model(tmp_path, "tide\n"), "", nothing)

    assert said_by(python, VERSION_OF_TIDE) == "2"


@pytest.mark.slow
async def test_who_comes_at_the_same_time_waits_for_the_one_that_builds(tmp_path):
    make_wheel(tmp_path / "wheels", "tide", "1")
    controls = [interpreters(tmp_path) for _ in range(3)]
    models = [model(tmp_path, "tide\n", name=name) for name in "abc"]

    pythons = await asyncio.gather(
        *(of.interpreter_for(m, "", nothing) for of, m in zip(controls, models, strict=True))
    )

    assert len(set(pythons)) == 1
    assert log_of(tmp_path).read_text().count("gnomon: done") == 1


@pytest.mark.slow
async def test_a_package_that_is_nowhere_is_named_and_tried_again(tmp_path):
    of, needy = interpreters(tmp_path), model(tmp_path, "tide==7\n")

    with pytest.raises(EnvironmentNotBuilt) as caught:
        await of.interpreter_for(needy, "", nothing)

    assert "No matching distribution found for tide==7" in str(caught.value)
    assert str(log_of(tmp_path)) in str(caught.value)
    assert len(str(caught.value)) < 1024
    assert environments(tmp_path) == []
    make_wheel(tmp_path / "wheels", "tide", "7")
    assert said_by(await of.interpreter_for(needy, "", nothing), VERSION_OF_TIDE) == "7"


@pytest.mark.slow
async def test_an_environment_without_its_interpreter_is_built_anew(tmp_path):
    make_wheel(tmp_path / "wheels", "tide", "1")
    of, needy = interpreters(tmp_path), model(tmp_path, "tide\n")
    python = await of.interpreter_for(needy, "", nothing)
    os.unlink(python)
    os.symlink("/no/python", python)

    assert await of.interpreter_for(needy, "", nothing) == python
    assert said_by(python, VERSION_OF_TIDE) == "1"


async def test_wheels_that_are_no_directory(tmp_path):
    of = interpreters(tmp_path, wheels=str(tmp_path / "nowhere"))

    with pytest.raises(EnvironmentNotBuilt, match=r"hosting\.wheels names .*/nowhere, which is no"):
        await of.interpreter_for(model(tmp_path, "tide\n"), "", nothing)


async def test_a_directory_that_cannot_be_written_to(tmp_path):
    (tmp_path / "data").write_text("a file")

    with pytest.raises(EnvironmentNotBuilt, match="Not a directory"):
        await interpreters(tmp_path).interpreter_for(model(tmp_path, "tide\n"), "", nothing)


# --- How a build ends early --------------------------------------------------------------------

# Stands in for an interpreter: a Python whose venv never ends.
ENDLESS = """#!/bin/sh
case "$*" in
*venv*) echo $$ >{directory}/pid.new; mv {directory}/pid.new {directory}/pid; sleep 1000 & wait;;
*) exec {python} "$@";;
esac
"""


@pytest.fixture
def endless(tmp_path):
    program = tmp_path / "endless"
    program.write_text(ENDLESS.format(directory=tmp_path, python=sys.executable))
    program.chmod(0o755)
    return str(program)


def is_gone(pid):
    seen = stat(pid)
    return seen is None or seen.is_zombie


def group_is_gone(group):
    """Whether no process of a group is left but zombies, which have no command line."""
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                if os.getpgid(int(entry)) == group and not is_gone(int(entry)):
                    return False
            except ProcessLookupError:
                continue
    return True


async def test_a_build_that_takes_too_long_is_ended(tmp_path, endless):
    of = interpreters(tmp_path, environment_time_limit_s=0.5)

    with pytest.raises(EnvironmentNotBuilt, match=r"it took longer than 0\.5 s"):
        await of.interpreter_for(model(tmp_path, ""), endless, nothing)

    assert group_is_gone(int((tmp_path / "pid").read_text()))


async def test_a_caller_that_is_cancelled_leaves_no_process_and_no_lock(
    tmp_path, endless, eventually
):
    of, needy = interpreters(tmp_path), model(tmp_path, "")
    task = asyncio.create_task(of.interpreter_for(needy, endless, nothing))
    await eventually((tmp_path / "pid").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    # A process that was killed is seen for a moment longer.
    group = int((tmp_path / "pid").read_text())
    await eventually(lambda: group_is_gone(group))
    # The lock is free: the next attempt gets as far as the first.
    (tmp_path / "pid").unlink()
    task = asyncio.create_task(of.interpreter_for(needy, endless, nothing))
    await eventually((tmp_path / "pid").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_waits_for_anothers_build_can_be_cancelled(tmp_path, endless, eventually):
    of, needy = interpreters(tmp_path), model(tmp_path, "")
    building = asyncio.create_task(of.interpreter_for(needy, endless, nothing))
    await eventually((tmp_path / "pid").exists)
    notes = []
    waiting = asyncio.create_task(of.interpreter_for(needy, endless, notes.append))
    await eventually(lambda: notes)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not building.done()
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building


def test_a_build_does_not_outlive_the_control_that_wanted_it(tmp_path, endless):
    read, write = os.pipe()
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    builder = subprocess.Popen(
        (
            *(sys.executable, "-I", "-S", environment_builder.__file__),
            *(str(tmp_path / "home"), "1000", str(lock), str(tmp_path), endless, "install"),
        ),
        stdin=read,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock,),
        start_new_session=True,
    )
    os.close(lock)
    os.close(read)
    try:
        deadline_s = time.monotonic() + 20
        while not (tmp_path / "pid").exists():
            assert builder.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

        # As the kernel does for a control that dies.
        os.close(write)

        assert builder.wait(20) == environment_builder.EXIT_GIVEN_UP
        assert group_is_gone(int((tmp_path / "pid").read_text()))
    finally:
        while not kill_session(builder.pid):
            time.sleep(0.01)
        builder.wait()


async def test_a_builder_that_is_killed_leaves_nothing_behind(tmp_path, endless, eventually):
    of = interpreters(tmp_path)
    task = asyncio.create_task(of.interpreter_for(model(tmp_path, ""), endless, nothing))
    await eventually((tmp_path / "pid").exists)
    venv = int((tmp_path / "pid").read_text())

    os.kill(stat(venv).session, signal.SIGKILL)

    with pytest.raises(EnvironmentNotBuilt, match="venv begins"):
        await task
    assert group_is_gone(venv)
