"""Commands as people type them, on a machine where no Gnomon runs."""

import signal
import subprocess
import sys

import pytest

from gnomon.cli import former
from gnomon.cli.running import Process
from gnomon.hosting import session


@pytest.fixture
def gnomon(tmp_path):
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(*arguments, wrapper=(), **extra):
        return subprocess.run(
            [*wrapper, sys.executable, "-m", "gnomon.app.main", *arguments],
            env={**environ, **extra},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--watch"],
        ["env"],
        ["down"],
        ["report", "x"],
        ["logs", "x"],
        ["logs", "x", "-f"],
        ["events"],
        ["aws", "x"],
    ],
)
def test_without_a_gnomon_a_command_says_how_to_start_one(gnomon, command):
    done = gnomon(*command)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Start one with `gnomon up`" in done.stderr


def test_doctor_needs_no_gnomon(gnomon, tmp_path):
    found = gnomon("doctor", "--data-dir", str(tmp_path / "d"), GNOMON_SERVER_PORT="0")
    assert found.stderr == ""
    assert f"{tmp_path / 'd'} is not there yet and can be made." in found.stdout
    assert not (tmp_path / "d").exists()


def test_doctor_fails_where_gnomon_could_not_work(gnomon, tmp_path):
    (tmp_path / "file").write_text("")
    found = gnomon("doctor", "--data-dir", str(tmp_path / "file"))
    assert found.returncode == 1
    assert f"{tmp_path / 'file'} is a file: name another with --data-dir." in found.stdout
    assert found.stderr == ""


def test_debug_shows_the_whole_of_an_error(gnomon):
    done = gnomon("--debug", "status")
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("Start one with `gnomon up`.")


def test_it_refuses_to_listen_beyond_loopback(gnomon, tmp_path):
    done = gnomon("up", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 1
    assert "loopback only" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made_is_named(gnomon, tmp_path):
    (tmp_path / "file").write_text("")
    done = gnomon("up", "--data-dir", str(tmp_path / "file"))
    assert done.returncode == 1
    assert f"{tmp_path / 'file'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_named(gnomon, tmp_path):
    done = gnomon("up", "--data-dir", str(tmp_path / "d"), GNOMON_SERVER_PORT="many")
    assert done.returncode == 1
    assert "GNOMON_SERVER_PORT is 'many'" in done.stderr


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_roles_that_cannot_be_meant_are_named(gnomon, tmp_path, command):
    done = gnomon(command, "--data-dir", str(tmp_path / "d"), GNOMON_ROLES_STRICT="true")
    assert done.returncode == 1
    assert "roles.strict is true and roles.credentials names no role" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--port", "abc"], 2, "Invalid value for '--port'"),
        (["--port", "99999"], 1, "--port is 99999 and must be a whole number from 0 to 65535."),
        (["--log-level", "verbose"], 2, "Invalid value for '--log-level'"),
    ],
)
def test_a_bad_option_is_named(gnomon, tmp_path, arguments, code, sentence):
    done = gnomon("up", "--data-dir", str(tmp_path / "d"), *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert sentence in done.stderr


def test_a_damaged_database_is_named(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "state.db").write_text("no database at all" * 1000)
    done = gnomon("up", "--data-dir", str(tmp_path / "d"), "--port", "0", "--control-port", "0")
    assert done.returncode == 1
    assert f"The database {tmp_path / 'd' / 'state.db'} cannot be used" in done.stderr
    assert "move it" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_a_usage_error(gnomon):
    done = gnomon("upp")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_copying_there_and_back_without_a_running_gnomon(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "model.tar.gz").write_bytes(b"archive")
    there = gnomon(
        "cp",
        str(tmp_path / "model.tar.gz"),
        "s3://bucket/models/",
        "--data-dir",
        str(tmp_path / "d"),
    )
    assert there.stdout == "s3://bucket/models/model.tar.gz\n"
    back = gnomon(
        "cp",
        "s3://bucket/models/model.tar.gz",
        str(tmp_path / "back"),
        "--data-dir",
        str(tmp_path / "d"),
    )
    assert back.returncode == 0
    assert (tmp_path / "back").read_bytes() == b"archive"


def test_copying_what_is_not_there_says_so(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    done = gnomon("cp", "s3://bucket/none", str(tmp_path / "x"), "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 1
    assert done.stderr == "gnomon: There is no object at s3://bucket/none.\n"


def test_copying_to_where_nothing_can_be_written_says_so(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "file").write_text("x")
    data_dir = ("--data-dir", str(tmp_path / "d"))
    gnomon("cp", str(tmp_path / "file"), "s3://bucket/key", *data_dir)
    done = gnomon("cp", "s3://bucket/key", str(tmp_path / "file" / "x"), *data_dir)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'file' / 'x'} cannot be written" in done.stderr


def test_down_ends_what_a_killed_supervisor_has_left(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    orphan = subprocess.Popen(["sleep", "1000"])
    try:
        found = session.stat(orphan.pid)
        router = Process("router 0", orphan.pid, found.start_ticks, session.boot_id())
        former.record(tmp_path / "d", [router])
        done = gnomon("down", "--data-dir", str(tmp_path / "d"))
        assert (done.returncode, done.stderr) == (0, "")
        assert orphan.poll() == -signal.SIGTERM
    finally:
        orphan.kill()
        orphan.wait()
    assert gnomon("down", "--data-dir", str(tmp_path / "d")).returncode == 1


def test_copying_to_a_disk_that_is_full_says_so(gnomon, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    data_dir = ("--data-dir", str(tmp_path / "d"))
    assert gnomon("cp", str(tmp_path / "large"), "s3://bucket/key", *data_dir).returncode == 0
    # A limit of files' size is met by the same write as a full disk.
    limited = ("prlimit", "--fsize=50000")
    there = gnomon("cp", str(tmp_path / "large"), "s3://bucket/other", *data_dir, wrapper=limited)
    back = gnomon("cp", "s3://bucket/key", str(tmp_path / "back"), *data_dir, wrapper=limited)
    for done, said in (
        (there, "The object store failed at s3://bucket/other"),
        (back, f"{tmp_path / 'back'} cannot be written: File too large."),
    ):
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert said in done.stderr
    assert not list(tmp_path.glob("back*"))
