import subprocess
import sys
from pathlib import Path

import pytest
from examples.demo import __main__ as demo
from examples.demo.checks import Check
from examples.demo.local_gnomon import GnomonFailed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the demo with another story in its place; gives the exit status."""

    def run_with(tell, *arguments):
        monkeypatch.setattr(demo, "tell", tell)
        # Signals are the test run's own.
        monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
        monkeypatch.setattr(sys, "argv", ["demo", "--once", "--base", str(tmp_path), *arguments])
        return demo.main()

    return run_with


def telling(*checks):
    def tell(stage, flights):
        for check in checks:
            stage.screen.check(check)

    return tell


def test_it_succeeds_when_all_checks_hold(run, tmp_path):
    assert run(telling(Check("one", holds=True, said=""), Check("two", holds=True, said=""))) == 0
    assert list(tmp_path.iterdir()) == []


def test_it_fails_and_says_so_when_one_check_does_not_hold(run, capsys):
    held, failed = Check("one", holds=True, said="fine"), Check("two", holds=False, said="3 of 4")
    assert run(telling(held, failed)) == 1
    said = capsys.readouterr().out
    assert "1 of 2 checks did not hold" in said
    assert said.count("two: 3 of 4") == 2


def test_data_and_logs_are_kept_when_it_fails(run, tmp_path):
    assert run(telling(Check("one", holds=False, said=""))) == 1
    assert len(list((tmp_path / "gnomon-demo").iterdir())) == 1


def test_it_fails_when_gnomon_does(run, capsys):
    def tell(stage, flights):
        raise GnomonFailed("Gnomon ended while it started")

    assert run(tell) == 1
    assert "Gnomon ended while it started" in capsys.readouterr().out


def test_an_interruption_is_no_success(run, tmp_path):
    def tell(stage, flights):
        raise KeyboardInterrupt

    assert run(tell) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_named_directory_stays(run, tmp_path):
    assert run(telling(Check("one", holds=True, said="")), "--data-dir", "named") == 0
    assert (tmp_path / "named").is_dir()


def test_a_named_directory_must_be_empty(run, tmp_path):
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "file").touch()
    with pytest.raises(SystemExit, match="not empty"):
        run(telling(), "--data-dir", "named")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_whole_demo_holds(tmp_path):
    command = [sys.executable, "-m", "examples.demo", "--once", "--flights", "1000"]
    done = subprocess.run(
        [*command, "--base", str(tmp_path)],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 14 checks held" in done.stdout
    assert list(tmp_path.iterdir()) == []
