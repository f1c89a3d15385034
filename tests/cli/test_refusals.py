"""A data directory or a port that `gnomon up` cannot have: one sentence that says what to do."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gnomon.testing import reliability
from gnomon.testing.processes import running_gnomon
from gnomon.testing.reliability import Measured, record

NOBODY = "65534"
AS_NOBODY = (
    ("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups")
    if os.geteuid() == 0 and shutil.which("setpriv")
    else ()
)
# As any other user it is simply that user, whom permissions hold.
unprivileged = pytest.mark.skipif(
    os.geteuid() == 0 and not AS_NOBODY, reason="root may write everywhere, and has no setpriv"
)


def up(data_dir, *options, wrapper=(), **environ):
    ports = () if options else ("--port", "0", "--control-port", "0")
    return subprocess.run(
        [
            *wrapper,
            *(sys.executable, "-m", "gnomon.app.main", "up", "--data-dir", str(data_dir)),
            *ports,
            *options,
        ],
        env={**os.environ, "HOME": str(data_dir.parent), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sentence(done):
    """What it said; and that it said nothing else."""
    assert done.returncode == 1, done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.stderr
    assert done.stderr.startswith("gnomon: ")
    return done.stderr


@pytest.fixture
def ours():
    """A directory of root's, or of this user's, below one that everybody may pass."""
    # pytest's own are closed to others.
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        directory = Path(made) / "ours"
        directory.mkdir()
        yield directory
        for path in (directory, *directory.rglob("*")):
            if path.is_dir():
                path.chmod(0o700)


@unprivileged
@pytest.mark.slow
def test_a_directory_that_cannot_be_made_is_named(ours):
    ours.chmod(0o555)
    said = sentence(up(ours / "data", wrapper=AS_NOBODY))
    assert f"The data directory {ours / 'data'} cannot be used" in said
    assert "Permission denied" in said
    assert "name another with --data-dir" in said


@unprivileged
@pytest.mark.slow
@pytest.mark.fault
def test_a_directory_that_is_read_only_is_named(ours):
    ours.chmod(0o555)
    began_s = time.monotonic()
    said = sentence(up(ours, wrapper=AS_NOBODY))
    refused_s = time.monotonic() - began_s
    assert f"The data directory {ours} cannot be used" in said
    assert "make it this user's to write" in said
    record(reliability.DIRECTORY_READ_ONLY, Measured([refused_s]))


@unprivileged
@pytest.mark.slow
@pytest.mark.parametrize("name", ["logs", "spool", "state.db", "supervisor.lock", "routers"])
def test_what_another_user_left_in_a_directory_is_named(ours, name):
    ours.chmod(0o777)
    inner = ours / name
    if "." in name:
        inner.touch()
        inner.chmod(0o444)
    else:
        inner.mkdir()
        inner.chmod(0o555)
    said = sentence(up(ours, wrapper=AS_NOBODY))
    assert str(inner) in said
    assert "name another with --data-dir" in said


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_port_that_a_stranger_has_is_named(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        other = {"--port": "--control-port", "--control-port": "--port"}[option]
        began_s = time.monotonic()
        said = sentence(up(tmp_path / "data", option, str(port), other, "0"))
        refused_s = time.monotonic() - began_s
    record(reliability.PORT_TAKEN, Measured([refused_s]))
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use." in said
    assert f"Name another port with {option}" in said


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.fault
def test_a_second_gnomon_is_told_the_directory_and_the_process_of_the_first(tmp_path):
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": ""}
    with running_gnomon(tmp_path / "first", GNOMON_ROUTER_DRAIN_IDLE_S="0.2", **home) as first:
        pid = first.process.pid
        began_s = time.monotonic()
        said = sentence(up(first.data_dir))
        refused_s = time.monotonic() - began_s
        assert f"Another Gnomon (process {pid}) runs on the data directory {first.data_dir}" in said
        assert "`gnomon down`" in said
        running = json.loads((first.data_dir / "gnomon.json").read_text())
        for option, other, url in (
            ("--port", "--control-port", running["url"]),
            ("--control-port", "--port", running["control_url"]),
        ):
            port = url.rpartition(":")[2]
            second = tmp_path / "second"
            said = sentence(up(second, option, str(port), other, "0", **home))
            assert f"127.0.0.1:{port}: the Gnomon on {first.data_dir} (process {pid}) does" in said
            assert f"`gnomon down --data-dir {first.data_dir}`" in said
            assert f"another port with {option}" in said
        assert first.get("/status")["warnings"] == []
    record(reliability.SECOND_GNOMON, Measured([refused_s]))
