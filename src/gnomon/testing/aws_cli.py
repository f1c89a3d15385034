"""The AWS CLIs of this machine, as a test runs them: with or without a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Any of the CLI's commands takes a second or two.
_PATIENCE_S = 60
# What a terminal shows is all there when nothing came for so long.
_SILENCE_S = 0.5
_READ_BYTES = 65_536
# Prints the CLI's global options; run by the interpreter that runs the CLI.
_OPTIONS = (
    "import awscli, pathlib; "
    "print(pathlib.Path(awscli.__file__).with_name('data').joinpath('cli.json').read_text())"
)


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    out: str
    err: str
    status: int


@dataclass(frozen=True)
class Cli:
    """One AWS CLI, on one Gnomon."""

    program: Path
    environ: dict[str, str]
    url: str

    def __call__(self, *arguments: str, **environ: str) -> Said:
        """Runs `aws` with these arguments; `environ` are further variables."""
        done = subprocess.run(
            [self.program, "--endpoint-url", self.url, *arguments],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        return Said(done.stdout, done.stderr, done.returncode)

    def json(self, *arguments: str, **environ: str) -> Any:
        """What it printed, which has to be JSON, or nothing."""
        said = self(*arguments, "--output", "json", **environ)
        assert said.status == 0, said.err
        return json.loads(said.out) if said.out else None

    def at_a_terminal(
        self, *arguments: str, prompt: str = "", typed: str = "", **environ: str
    ) -> str:
        """What it shows on a terminal. When it has shown `prompt` and falls silent, `typed` is
        typed: a prompt takes the first for a choice among completions, and the second for the end.
        """
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [self.program, "--endpoint-url", self.url, *arguments],
            env={**self.environ, "TERM": "xterm", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + _PATIENCE_S
        try:
            # A terminal that nobody has open any more reads as an error.
            with contextlib.suppress(OSError):
                while time.monotonic() < deadline:
                    readable, _, _ = select.select([ours], [], [], _SILENCE_S)
                    if readable:
                        shown += os.read(ours, _READ_BYTES)
                    elif typed and prompt.encode() in shown:
                        os.write(ours, typed.encode())
            assert process.wait(_PATIENCE_S) == 0, shown.decode()
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        return shown.decode()

    def global_options(self) -> set[str]:
        """The names of all that it has, from its own data."""
        interpreter = self.program.read_text().split("\n", 1)[0].removeprefix("#!")
        printed = subprocess.run(
            [interpreter, "-c", _OPTIONS], env=self.environ, capture_output=True, check=True
        )
        return set(json.loads(printed.stdout)["options"])


def version_1() -> Path:
    """The one of the extra `cli`."""
    return Path(sys.executable).parent / "aws"


def version_2() -> Path | None:
    """The one that this machine has, if any: it is no package of PyPI's."""
    for directory in os.environ["PATH"].split(":"):
        program = Path(directory) / "aws"
        if not program.is_file():
            continue
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
        if said.stdout.startswith("aws-cli/2"):
            return program
    return None
