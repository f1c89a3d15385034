"""The demo's command line, run by scripts/demo: starts, tells the story, ends what it started."""

import argparse
import contextlib
import io
import shlex
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from examples.demo.local_gnomon import GnomonFailed, LocalGnomon
from examples.demo.screen import Screen
from examples.demo.shadow_test import EXPERIMENT, ShadowTestFailed
from examples.demo.stage import Stage
from examples.demo.story import tell

# The first nine days of December, with the winter's first storms in them.
_FLIGHTS = 8_000

# About fewer than these the two models say the same, and no answer tells which gave it.
_MIN_FLIGHTS = 1_000

# Where temporary data directories are made, below the directory that the demo is run from.
_TEMPORARY = "gnomon-demo"

# What a shell says of a program that Ctrl-C ended.
_INTERRUPTED = 130


def main() -> int:
    """The exit status: 0 only if all that the demo claims held."""
    options = _options()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a character shows another instead.
        sys.stdout.reconfigure(errors="replace")
    data_dir, is_temporary = _data_dir(options)
    work = data_dir / "demo"
    # In a pipe or a log there is no width to keep to.
    screen = Screen(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    stage = Stage(LocalGnomon(data_dir, work / "gnomon.log", s3=options.s3), screen, work)
    # A kill is an interruption too: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 1
    try:
        status = _run(stage, options)
    except KeyboardInterrupt:
        screen.say("Interrupted.")
        status = _INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if options.keep and status != _INTERRUPTED and stage.gnomon.is_running:
            _say_what_runs(stage)
        else:
            stage.gnomon.end()
            if is_temporary and status != 1:
                _remove(data_dir)
            else:
                screen.say(f"Gnomon has ended; its data and logs are in {data_dir}.")
    return status


def _run(stage: Stage, options: argparse.Namespace) -> int:
    screen = stage.screen
    began_s = time.monotonic()
    try:
        tell(stage, options.flights)
    except (GnomonFailed, ShadowTestFailed, ClientError, BotoCoreError) as error:
        screen.say(f"The demo could not go on: {error}")
        return 1
    failed = [check for check in screen.checks if not check.holds]
    took_s = time.monotonic() - began_s
    screen.say("")
    if failed:
        screen.say(f"{len(failed)} of {len(screen.checks)} checks did not hold:")
        for check in failed:
            screen.say(f"  {check.title}: {check.said}")
    else:
        screen.say(f"All {len(screen.checks)} checks held, in {took_s:.0f} s.")
    if not options.once and not options.keep and sys.stdin.isatty():
        screen.say(f"Gnomon still runs: {stage.gnomon.url}")
        with contextlib.suppress(EOFError):
            input("Press Enter to end it. ")
    return 1 if failed else 0


def _say_what_runs(stage: Stage) -> None:
    gnomon = stage.gnomon
    command = shlex.quote(str(Path(sys.executable).with_name("gnomon")))
    named = f"--data-dir {shlex.quote(str(gnomon.data_dir))}"
    stage.screen.say(f"Everything still runs. SageMaker's API and the endpoint: {gnomon.url}")
    stage.screen.say(f"  control's own listener: {gnomon.control_url}")
    stage.screen.say(f'  for boto3 and aws: eval "$({command} env {named})"')
    stage.screen.say(f"  the report again: {command} report {EXPERIMENT} {named}")
    stage.screen.say(f"  to end it: {command} down {named}")


def _data_dir(options: argparse.Namespace) -> tuple[Path, bool]:
    """The data directory, and whether it is the demo's to remove."""
    base: Path = options.base
    try:
        if options.data_dir is None:
            parent = base / _TEMPORARY
            parent.mkdir(exist_ok=True)
            return Path(tempfile.mkdtemp(dir=parent, prefix="")).resolve(), True
        named = (base / options.data_dir).resolve()
        named.mkdir(parents=True, exist_ok=True)
        if any(named.iterdir()):
            sys.exit(f"demo: {named} is not empty. Name a directory that is, or a new one.")
    except OSError as error:
        sys.exit(f"demo: no directory for Gnomon: {error}.")
    return named, False


def _remove(data_dir: Path) -> None:
    shutil.rmtree(data_dir, ignore_errors=True)
    # Unless another demo runs beside.
    with contextlib.suppress(OSError):
        data_dir.parent.rmdir()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="A shadow test on real models with real traffic."
    )
    parser.add_argument("--once", action="store_true", help="wait for no key")
    parser.add_argument("--s3", action="store_true", help="keep objects in a real S3 server beside")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument(
        "--data-dir", type=Path, help="Gnomon's directory, empty or new, which is kept afterwards"
    )
    parser.add_argument(
        "--flights", type=int, default=_FLIGHTS, help="flights to ask about (default %(default)s)"
    )
    # scripts/demo runs in the repository's root; paths are meant from where it was called.
    parser.add_argument("--base", type=Path, default=Path(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flights < _MIN_FLIGHTS:
        parser.error(f"--flights must be at least {_MIN_FLIGHTS}")
    return options


if __name__ == "__main__":
    sys.exit(main())
